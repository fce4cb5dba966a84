"""What a check comes to: statuses, figures, judgements."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Row = Mapping[str, Any]
"""One raw sample, as JSON has it; `kind` says what it is (see `judges`)."""


class NotRun(Exception):
    """A check cannot be run, and the target is not to blame: raised inside a check, it makes the check NOT_RUN."""


Tier = Literal["smoke", "standard", "full"]
TIERS: tuple[Tier, ...] = ("smoke", "standard", "full")


class Frozen(BaseModel):
    """A value of the report: immutable, and strict about unknown keys so that an older suite refuses a newer report."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Status(StrEnum):
    """The statuses of a check."""

    PASS = "PASS"  # noqa: S105 - not a password
    FAIL = "FAIL"
    NOT_SUPPORTED = "NOT_SUPPORTED"
    """Declared absent by the target, and its rejection was seen."""
    NOT_RUN = "NOT_RUN"
    """A hook that the check needs is absent, or the run ended before it."""
    SKIPPED = "SKIPPED"
    """Left out at the operator's wish."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """Too little power, too much noise or too slow a target to decide."""
    MEASURED = "MEASURED"
    """A valid estimate of what no objective was declared for: neither a pass nor a failure."""
    DIVERGENCE = "DIVERGENCE"
    """The target differs from others where the contract is silent."""
    XFAIL = "XFAIL"
    """It failed, as an open issue says."""
    XPASS = "XPASS"
    """It passed although an open issue says that it fails: the entry must go."""
    ERROR = "ERROR"
    """The suite or the way to the target failed; the target is not blamed."""


BY_AN_ISSUE = {Status.FAIL: Status.XFAIL, Status.PASS: Status.XPASS}
"""What a status becomes where an open issue says that the check fails."""


class Figure(Frozen):
    """A number that a judgement rests on, with its interval where it has one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


class Judgement(Frozen):
    """What follows from the rows of one attempt, and from nothing else."""

    status: Status
    figures: tuple[Figure, ...] = ()
    problems: tuple[str, ...] = ()
    """One sentence for each thing that is wrong: what was looked at, what was expected, what was found."""

    def figure(self, name: str) -> float:
        """Return a figure's value. Raises `KeyError`."""
        values = {figure.name: figure.value for figure in self.figures}
        return values[name]


Rows = Sequence[Row]
