"""The colours of statuses and verdicts in a terminal."""

from collections.abc import Mapping

from rich.text import Text

from bellhousing_conformance.report.reading import TONES, Tone, word

COLOURS: Mapping[Tone, str] = {
    "good": "green",
    "bad": "bold red",
    "trouble": "bold magenta",
    "open": "yellow",
    "note": "cyan",
    "empty": "dim",
}


def coloured(status: str) -> Text:
    """Return a status or verdict in its colour."""
    return Text(word(status) or "absent", COLOURS[TONES[status]])
