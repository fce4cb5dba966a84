"""How a run goes, for whoever watches: what runs, how much is done, how long it may still take."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from bellhousing_conformance.check import Check
from bellhousing_conformance.cli.colours import COLOURS
from bellhousing_conformance.report.model import Result
from bellhousing_conformance.report.reading import TONES
from bellhousing_conformance.verdict import Status


class RunDisplay:
    """A line for each check that has ended and, in a terminal, a bar below them with the time left."""

    def __init__(self, console: Console, checks: Sequence[Check]) -> None:
        self._console = console
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=len(checks))

    def __enter__(self) -> "RunDisplay":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def checking(self, check: Check) -> None:
        """See `runner.Display`."""
        self._bar.update(self._task, description=f"{check.id} {check.title}")

    def checked(self, result: Result) -> None:
        """See `runner.Display`."""
        self._bar.advance(self._task)
        status = (f"{result.status:<14}", COLOURS[TONES[result.status]])
        line = Text.assemble(status, f"{result.id:<5}{result.title} ({result.seconds:.1f} s)")
        self._console.print(line, highlight=False, soft_wrap=True)
        for problem in result.problems[:3] if result.status is not Status.PASS else ():
            self._console.print(Text(f"{'':19}{problem}"), highlight=False, soft_wrap=True)
