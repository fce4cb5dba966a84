"""What every backend shares that attaches to an engine's own server (ADR 4)."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from bellhousing.config import is_loopback
from bellhousing.errors import ConfigurationError
from bellhousing.settings import EngineSettings, Strict

OWN_AFFAIR = "the attached server has settings of its own"
"""Why a setting of such an engine is not effective."""

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


async def until_unwell(is_well: Callable[[], Awaitable[bool]]) -> None:
    """Ask a server every second how it is; return once it was not well three times in a row."""
    missed = 0
    while missed < PULSES_MISSED:
        await asyncio.sleep(PULSE_SECONDS)
        missed = 0 if await is_well() else missed + 1
