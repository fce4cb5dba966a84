"""Progress of loading: a bar in a terminal, a line a stage elsewhere."""

import threading
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bellhousing.events import Progress as Step


class LoadDisplay:
    """Shows the steps of each model's loading. `update` may be called from any thread."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._stages: dict[str, str] = {}
        self._tasks: dict[str, TaskID] = {}
        self._bars: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            self._bars = Progress(*columns, console=console, transient=True)

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bars away."""
        if self._bars:
            self._bars.stop()

    def update(self, model: str, step: Step) -> None:
        """Show a step."""
        with self._lock:
            is_new = self._stages.get(model) != step.stage
            self._stages[model] = step.stage
            if self._bars:
                self._draw(self._bars, model, step)
            elif is_new:
                self._console.print(f"{model}: {step.stage}", highlight=False)

    def _draw(self, bars: Progress, model: str, step: Step) -> None:
        if model not in self._tasks:
            self._tasks[model] = bars.add_task(model)
        total = step.total or None
        bars.update(self._tasks[model], description=f"{model}: {step.stage}", completed=step.done, total=total)
