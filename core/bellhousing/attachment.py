"""What every backend shares that attaches to an engine's own server (ADR 4)."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from bellhousing.config import is_loopback
from bellhousing.errors import ConfigurationError
from bellhousing.settings import Batching, EngineSettings, Strict

OWN_AFFAIR = "the attached server has settings of its own"
"""Why a setting of such an engine is not effective."""
REASONS: Mapping[str, str] = {
    "batching.max_sequences": "most requests sent to the server at once; how it batches is its own affair",
    "batching.max_batched_tokens": OWN_AFFAIR,
    "batching.max_total_tokens": OWN_AFFAIR,
}

PULSE_SECONDS = 1.0
PULSES_MISSED = 3
"""So many missed in a row count as a death; core then attaches again and again, as it restarts an engine."""


class Attachment(Strict):
    """Where the server is. A backend gives `url` its own default."""

    url: str
    api_key_file: Path | None = Field(None, description="File with the server's API key, and nothing else.")
    insecure: bool = Field(default=False, description="Allow plain http to another host than this one.")

    @model_validator(mode="after")
    def _plain_text_stays_here(self) -> "Attachment":
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"url: expected http://HOST:PORT or https://HOST, found {self.url!r}")
        if parts.scheme == "http" and not self.insecure and not is_loopback(parts.hostname):
            raise ValueError(f"url: expected https, a loopback address or `insecure = true`, found {self.url!r}")
        return self

    def key(self) -> str:
        """Return the API key, empty without one. Reads a file. Raises `ConfigurationError`."""
        if self.api_key_file is None:
            return ""
        try:
            return self.api_key_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigurationError(f"options.api_key_file: expected a readable file, found {error}") from error


def check_settings(wanted: EngineSettings) -> None:
    """Refuse the settings that are the server's own; `max_sequences` bounds what is sent to it at once.

    Raises `ConfigurationError` naming them all.
    """
    asked = [f"parallelism.{name}" for name, value in wanted.parallelism if value != 1]
    asked += [f"batching.{name}" for name, value in wanted.batching if value and name != "max_sequences"]
    if asked:
        raise ConfigurationError(f"{', '.join(asked)}: expected unset, since {OWN_AFFAIR}", reason="INVALID_CONFIG")


def effective_settings(max_sequences: int) -> EngineSettings:
    """Return what became of the settings; see `REASONS`."""
    return EngineSettings(batching=Batching(max_sequences=max_sequences))


def chosen_model(wanted: str, models: Collection[str]) -> str:
    """Return the wanted model of a server's, or its only one where none is wanted. Raises `ConfigurationError`."""
    chosen = next(iter(models)) if not wanted and len(models) == 1 else wanted
    if chosen not in models:
        raise ConfigurationError(
            f"options.served_model: expected one of {', '.join(sorted(models)) or 'none'}, found {wanted!r}",
            reason="NO_MODEL",
        )
    return chosen


async def until_unwell(is_well: Callable[[], Awaitable[bool]]) -> None:
    """Ask a server every second how it is; return once it was not well three times in a row."""
    missed = 0
    while missed < PULSES_MISSED:
        await asyncio.sleep(PULSE_SECONDS)
        missed = 0 if await is_well() else missed + 1
