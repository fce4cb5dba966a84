"""The hooks: where the lines go, and the writing of one."""

import json
import sys
from pathlib import Path
from typing import TextIO

from pydantic_settings import SettingsConfigDict

from bellhousing.errors import ConfigurationError
from bellhousing.hookspecs import hookimpl
from bellhousing.plugin_settings import PluginSettings
from bellhousing.timeline import Timeline
from bellhousing_accesslog.record import record_of


class AccessLogSettings(PluginSettings):
    """Environment variables `BELLHOUSING_ACCESSLOG_*`."""

    model_config = SettingsConfigDict(env_prefix="BELLHOUSING_ACCESSLOG_")

    file: str = ""


class AccessLog:
    """The plugin. It writes nothing until a server's configuration shows it where to."""

    def __init__(self) -> None:
        self._output: TextIO | None = None

    @hookimpl
    def bellhousing_configure(self) -> None:
        """Open the file. Raises `ConfigurationError` when it cannot be written, before any model is loaded."""
        self.close()
        self._output = _opened(AccessLogSettings.from_environment().file)

    @hookimpl
    def bellhousing_request_finished(self, timeline: Timeline) -> None:
        """Write the line of a request that has ended."""
        if self._output:
            self._output.write(json.dumps(record_of(timeline)) + "\n")
            self._output.flush()

    def close(self) -> None:
        """Let go of the file."""
        if self._output and self._output is not sys.stdout:
            self._output.close()
        self._output = None


def _opened(file: str) -> TextIO | None:
    if not file:
        return None
    if file == "-":
        return sys.stdout
    try:
        return Path(file).open("a", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"access log {file!r} cannot be written: {error.strerror}",
            reason="INVALID_CONFIG",
            hint="Set BELLHOUSING_ACCESSLOG_FILE to a file in a directory that exists and may be written.",
        ) from error
