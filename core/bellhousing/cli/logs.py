"""Log lines of a server: for people, or JSON for machines."""

import json
import logging
from datetime import UTC, datetime
from enum import StrEnum

from rich.console import Console
from rich.text import Text

Level = StrEnum("Level", ["debug", "info", "warning", "error"])


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and the exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class ConsoleHandler(logging.Handler):
    """Writes through the console, so that lines and progress bars do not tear each other."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; what goes wrong is logging's to report."""
        try:
            self._console.print(Text(self.format(record)), highlight=False, soft_wrap=True)
        except Exception:  # noqa: BLE001 - as every handler of logging does
            self.handleError(record)


def set_up(level: Level, console: Console, *, as_json: bool) -> None:
    """Log to the console from now on."""
    handler = ConsoleHandler(console)
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if as_json else plain)
    logging.basicConfig(level=level.value.upper(), handlers=[handler], force=True)
