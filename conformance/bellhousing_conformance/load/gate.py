"""What a gate is, and what it looks at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bellhousing_conformance.load.record import RunInfo, Sent
from bellhousing_conformance.load.steady import warm_up
from bellhousing_conformance.verdict import Frozen


class Gate(Frozen):
    """One gate. `found` and `bound` say what was looked at and what was expected; not applicable counts as kept."""

    name: str
    is_kept: bool
    found: str
    bound: str
    is_applicable: bool = True

    @property
    def reason(self) -> str:
        """What to say of it when it was not kept."""
        return f"{self.name}: expected {self.bound}, found {self.found}"


@dataclass(frozen=True)
class Run:
    """What gates look at. `floor` has the medians, in seconds by metric, that the same load gives on a null server."""

    rows: Sequence[Sent]
    info: RunInfo
    floor: dict[str, float] | None = None

    @cached_property
    def first_turns(self) -> list[Sent]:
        """The requests whose time the schedule says, in its order."""
        return sorted((row for row in self.rows if row.turn == 0), key=lambda row: (row.intended_ns, row.index))

    @cached_property
    def window(self) -> tuple[int, int]:
        """The measured time, in ns since the origin: from the end of the warm-up on.

        A phase that is not measured is the warm-up; without one the first requests are, until they are steady.
        """
        measured = [phase for phase in self.info.phases if phase.is_measured] or list(self.info.phases)
        start, end = measured[0].start_ns, measured[-1].end_ns
        if start == 0 and self.warm_up:
            start = self.first_turns[self.warm_up].intended_ns
        return start, end

    @cached_property
    def warm_up(self) -> int | None:
        """How many first turns were needed until they were steady; None when they never were."""
        return warm_up(self.first_turns)

    @cached_property
    def measured(self) -> list[Sent]:
        """The rows that were meant to be sent in the window."""
        start, end = self.window
        return [row for row in self.rows if start <= row.intended_ns < end]


def left_out(name: str, bound: str, why: str) -> Gate:
    """Return a gate that has nothing to look at; `why` says so."""
    return Gate(name=name, is_kept=True, found=why, bound=bound, is_applicable=False)
