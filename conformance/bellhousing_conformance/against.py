"""The target against another: the same observations of both, from the same prompts and seeds, judged side by side."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bellhousing.errors import ConfigurationError
from bellhousing.v1 import discovery_pb2
from bellhousing_conformance.calls import Calls
from bellhousing_conformance.judges import Judge
from bellhousing_conformance.report.model import ConformanceReport, Subject
from bellhousing_conformance.report.samples import read_samples
from bellhousing_conformance.verdict import Judgement, Row, Rows, Status, Tier

TARGET, OTHER = "target", "other"
"""Values of a row's `side`."""

NOTHING = (
    "there is nothing to compare with: a run with --record keeps its samples for a later --against, and the report of "
    "a run without it has none"
)

Observe = Callable[[Calls, discovery_pb2.Model], Awaitable[list[Row]]]
Comparison = Callable[[Rows, Rows, float], Judgement]
"""Takes the target's rows, the other's rows and the level of significance."""


class OtherFailed(Exception):
    """The other side did not answer as it should: the target is not blamed."""


class Other(Protocol):
    """Where the rows of the other side come from."""

    async def rows(self, check_id: str, attempt: int, observe: Observe) -> list[Row]:
        """Return what a check observes there; no rows where that is not known."""
        ...


@dataclass(frozen=True, slots=True)
class LiveOther:
    """Another target, asked now."""

    subject: Subject
    calls: Calls
    model: discovery_pb2.Model

    async def rows(self, check_id: str, attempt: int, observe: Observe) -> list[Row]:  # noqa: ARG002 - see `Other`
        """See `Other.rows`."""
        return await observe(self.calls, self.model)


@dataclass(frozen=True, slots=True)
class RecordedOther:
    """The target of an earlier run, which had the same seed and tier and so asked the same. Its samples are read."""

    report: ConformanceReport
    folder: Path

    @property
    def subject(self) -> Subject:
        """What was judged then."""
        return self.report.subject

    def require(self, seed: int, tier: Tier) -> None:
        """Raise `ConfigurationError` when a run of this seed and tier would ask something else."""
        if (self.report.seed, self.report.tier) != (seed, tier):
            raise ConfigurationError(
                f"--against {str(self.folder)!r}: expected a report of tier {tier} and seed {seed}, found tier "
                f"{self.report.tier} and seed {self.report.seed}"
            )

    async def rows(self, check_id: str, attempt: int, observe: Observe) -> list[Row]:  # noqa: ARG002 - see `Other`
        """See `Other.rows`. Raises `ConfigurationError` for samples that are not those of the report."""
        result = next((each for each in self.report.checks if each.id == check_id), None)
        kept = [each for each in result.attempts if each.number == attempt] if result else []
        rows = [row for each in kept for row in read_samples(self.folder, each.samples, each.sha256)]
        return [row for row in rows if row.get("side") == TARGET]


def on_side(rows: Rows, side: str) -> list[Row]:
    """Return rows marked with their side."""
    return [{**row, "side": side} for row in rows]


def comparing(comparison: Comparison) -> Judge:
    """Return the judge of a paired check: NOT_RUN while the other side has no samples, as where they are recorded."""

    def judge(rows: Rows, alpha: float) -> Judgement:
        target, other = ([row for row in rows if row["side"] == side] for side in (TARGET, OTHER))
        if not other:
            return Judgement(status=Status.NOT_RUN, problems=(NOTHING,))
        if not target:
            return Judgement(status=Status.INCONCLUSIVE, problems=("the target has no samples",))
        return comparison(target, other, alpha)

    return judge
