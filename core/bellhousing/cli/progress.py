"""Progress of loading: a bar in a terminal, lines elsewhere."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bellhousing.events import Progress as Step

SECONDS_BETWEEN_LINES = 5.0


@dataclass(slots=True)
class LineDisplay:
    """Writes a line for each new stage of a model, and one now and then while a stage goes on."""

    write: Callable[[str], None]
    _last: dict[str, tuple[str, float]] = field(default_factory=dict)

    def update(self, model: str, step: Step) -> None:
        """Show a step. May be called from any thread."""
        stage, when = self._last.get(model, ("", 0.0))
        now = time.monotonic()
        if stage != step.stage or now - when >= SECONDS_BETWEEN_LINES:
            self._last[model] = (step.stage, now)
            self.write(f"{model}: {step.stage} {amount(step)}".rstrip())

    def done(self, model: str) -> None:
        """The model's loading is over."""
        self._last.pop(model, None)


class BarDisplay:
    """Draws a bar for each model that loads, below what is printed meanwhile."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"))
        self._bars = Progress(*columns, TimeElapsedColumn(), console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def update(self, model: str, step: Step) -> None:
        """Show a step. May be called from any thread."""
        with self._lock:
            if model not in self._tasks:
                self._tasks[model] = self._bars.add_task(model, amount="")
                self._bars.start()
            self._bars.update(
                self._tasks[model],
                description=f"{model}: {step.stage}",
                completed=step.done,
                total=step.total or None,
                amount=amount(step),
            )

    def done(self, model: str) -> None:
        """The model's loading is over: take its bar away."""
        with self._lock:
            task = self._tasks.pop(model, None)
            if task is not None:
                self._bars.remove_task(task)
            if not self._tasks:
                self._bars.stop()


Display = LineDisplay | BarDisplay


def amount(step: Step) -> str:
    """Return how much is done, for a person; empty where it is not known."""
    if step.unit == "bytes":
        return f"{decimal(step.done)} of {decimal(step.total)}" if step.total else decimal(step.done)
    if step.total:
        return f"{step.done} of {step.total} {step.unit}".rstrip()
    return f"{step.done} {step.unit}" if step.unit else ""
