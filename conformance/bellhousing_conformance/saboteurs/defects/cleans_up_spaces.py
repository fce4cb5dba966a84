"""Detokenize tidies the text."""

from typing import Any

from bellhousing_conformance.saboteurs.saboteur import Saboteur


class CleansUpSpaces(Saboteur):
    """Makes one space of two, as clean-ups of spaces do."""

    defect = "Detokenize makes one space of two"
    seen_by = ("C06",)

    def answered(self, method: str, answer: Any) -> None:
        """See `Saboteur`."""
        if method == "Detokenize":
            answer.text = answer.text.replace("  ", " ")
