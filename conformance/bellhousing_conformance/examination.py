"""One check against one target: attempts, the two stages, and whose fault a failure is."""

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bellhousing.errors import EngineUnavailable
from bellhousing.v1 import discovery_pb2
from bellhousing_conformance.abandonment import ClientFailed
from bellhousing_conformance.against import OTHER, TARGET, Observe, Other, OtherFailed, on_side
from bellhousing_conformance.bench import SOAK_SECONDS, Bench
from bellhousing_conformance.calls import CallFailed, Calls, Incomplete, TargetSilent, Unreadable
from bellhousing_conformance.check import Check
from bellhousing_conformance.gates import Gates, Watch, gated, watching
from bellhousing_conformance.oracles import Oracle, Reference
from bellhousing_conformance.preflight import is_answering
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.report.model import Attempt, Result
from bellhousing_conformance.report.samples import as_recorded
from bellhousing_conformance.stats import SECOND_STAGE_SCALE
from bellhousing_conformance.support import BEYOND, excuse, is_declared, rejection_fault
from bellhousing_conformance.targets.hooks import HookFailed, Hooks
from bellhousing_conformance.verdict import BY_AN_ISSUE, Judgement, NotRun, Row, Status, Tier

TIME_FACTORS: Mapping[Tier, float] = {"smoke": 1.0, "standard": 1.0, "full": 4.0}
CUT = "the target was too slow for this check"
LESSENED = (CUT, BEYOND)
"""How a problem begins that says why a sample is not whole, which the sample itself does not show."""

BLAMED = (
    CallFailed, Unreadable, Incomplete, ClientFailed, HookFailed, OtherFailed, EngineUnavailable, TimeoutError
)  # fmt: skip
"""What ends a check that is no defect of the check itself."""

SILENT_SHARE = 0.5
"""A silence of which this process missed this share is not the target's."""

logger = logging.getLogger(__name__)


class BeyondDeclared(Exception):
    """A check asked for more than is declared, and was refused: nobody's fault."""


class TargetLost(Exception):
    """The target answers nothing any more: no check can blame it or clear it."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A result, and for each of its attempts the rows that were judged."""

    result: Result
    rows: tuple[list[Row], ...] = ()


@dataclass(frozen=True, slots=True)
class Examiner:
    """Runs checks against a target that was looked at. `issues` are the known failures: check id to issue."""

    calls: Calls
    model: discovery_pb2.Model
    tier: Tier
    seed: int
    hooks: Hooks = field(default_factory=Hooks)
    oracle: Oracle | None = None
    issues: Mapping[str, str] = field(default_factory=dict)
    other: Other | None = None
    record: bool = False
    task_file: Path | None = None
    reference: Reference | None = None
    adapters: tuple[str, ...] = ()
    bench: Bench = field(default_factory=Bench)
    shares_process: bool = False
    """Whether a part of the target, such as a proxy, runs in this process: gates would measure it too, so none are."""

    @property
    def known_reference(self) -> Reference | None:
        """What the target's model should agree with: the operator's reference, or else the oracle."""
        return self.reference or self.oracle

    async def examine(self, check: Check) -> Examined:
        """Return what a check comes to. Raises `TargetLost`."""
        began = time.monotonic()
        async with watching() as watch:
            examined = await self._caught(check, watch)
        await self._see_that_it_lives(check, examined.result)
        timed = examined.result.model_copy(update={"seconds": round(time.monotonic() - began, 3)})
        return Examined(self._expected(timed), examined.rows)

    async def _see_that_it_lives(self, check: Check, result: Result) -> None:
        """Raise `TargetLost` when a check failed since nothing answers any more.

        A check that may stop or break the target itself judges whether it comes back.
        """
        may_stop_it = check.hooks or check.profile == "lifecycle"
        if result.status is Status.FAIL and not may_stop_it and not await is_answering(self.calls):
            raise TargetLost(f"during check {check.id} the target stopped answering: {'; '.join(result.problems)}")

    async def _caught(self, check: Check, watch: Watch) -> Examined:
        """Return what a check comes to, whatever it raises but for `TargetLost`."""
        try:
            return await self._examine(check)
        except TargetSilent as error:
            return Examined(await self._silent(check, error, watch.read()))
        except BLAMED as error:
            return Examined(await self._blamed(check, error))
        except NotRun as error:
            return Examined(result_of(check, Status.NOT_RUN, reason=str(error)))
        except TargetLost:
            raise
        except Exception as error:
            logger.exception("check %s has a defect of its own", check.id)
            reason = f"the check itself is broken: {type(error).__name__}: {error}"
            return Examined(result_of(check, Status.ERROR, reason=reason))

    async def _examine(self, check: Check) -> Examined:
        absent = [path for path in check.needs if not is_declared(self.model, path)]
        if absent:
            faults = [await rejection_fault(self.calls, self.model, path) for path in absent]
            wrong = "; ".join(filter(None, faults))
            if wrong:
                return Examined(result_of(check, Status.FAIL, reason=wrong))
            return Examined(result_of(check, Status.NOT_SUPPORTED, reason=f"declared absent: {', '.join(absent)}"))
        lacking = [name for name in check.hooks if not self.hooks.has(name)]
        if lacking:
            return Examined(result_of(check, Status.NOT_RUN, reason=f"the target has no hook {', '.join(lacking)}"))
        if check.reference and self.known_reference is None:
            reason = "no reference for the target's weights is known; --reference names one"
            return Examined(result_of(check, Status.NOT_RUN, reason=reason))
        if check.paired and self.other is None and not self.record:
            reason = "there is nothing to compare with; --against names another target, or an earlier report"
            return Examined(result_of(check, Status.NOT_RUN, reason=reason))
        return await self._attempts(check)

    async def _attempts(self, check: Check) -> Examined:
        attempts: list[Attempt] = []
        kept: list[list[Row]] = []
        for number, alpha in enumerate(check.levels, 1):
            attempt, rows = await self._attempt(check, number, alpha)
            attempts.append(attempt)
            kept.append(rows)
            if attempt.judgement.status is not Status.FAIL:
                break
        return Examined(result_of(check, attempts[-1].judgement.status, attempts=tuple(attempts)), tuple(kept))

    async def _attempt(self, check: Check, number: int, alpha: float) -> tuple[Attempt, list[Row]]:
        scale = SECOND_STAGE_SCALE ** (number - 1)
        limit = check.seconds * scale * TIME_FACTORS[self.tier] + self._soak_seconds(check)
        limit *= 2 if check.paired else 1
        began = time.monotonic()
        rows: list[Row] = []
        lacking = ""
        async with watching() as watch:
            try:
                async with asyncio.timeout(limit) as timer:
                    await self._observe(check, number, scale, rows)
            except TimeoutError:
                if not timer.expired():  # one of the check's own, which has something else to say
                    raise
                lacking = f"{CUT}: it was cut after {limit:g} s"
            except BeyondDeclared as error:
                lacking = str(error)
            gates = watch.read() if check.alone and not self.shares_process else None
        rows = as_recorded(rows)
        judgement = check.judge(rows, alpha)
        if lacking:  # what was seen counts when it is wrong; when it is right, it is less than was asked for
            judgement = _lessened(judgement, lacking)
        seconds = round(time.monotonic() - began, 3)
        level = alpha if check.two_stage else None
        attempt = Attempt(number=number, alpha=level, seconds=seconds, judgement=gated(judgement, gates), gates=gates)
        return attempt, rows

    def _soak_seconds(self, check: Check) -> float:
        """Return how much longer a check may take for the soak that was asked for."""
        return (self.bench.soak_seconds or SOAK_SECONDS[self.tier]) if check.profile == "soak" else 0.0

    async def _observe(self, check: Check, number: int, scale: int, rows: list[Row]) -> None:
        """Put into `rows` what the check sees; of a paired check, on both sides, from the same random numbers."""

        def probe(calls: Calls, model: discovery_pb2.Model, kept: list[Row]) -> Probe:
            return Probe(
                calls=calls,
                model=model,
                hooks=self.hooks,
                tier=self.tier,
                random=random.Random(_seed(self.seed, check.id, number)),
                oracle=self.oracle,
                adapters=self.adapters,
                scale=scale,
                task_file=self.task_file,
                reference=self.known_reference,
                bench=self.bench,
                shares_process=self.shares_process,
                rows=kept,
            )

        async def there(calls: Calls, model: discovery_pb2.Model) -> list[Row]:
            seen: list[Row] = []
            await _seen(check, probe(calls, model, seen))
            return seen

        if not check.paired:
            await _seen(check, probe(self.calls, self.model, rows))
            return
        rows += on_side(await there(self.calls, self.model), TARGET)
        if self.other is not None:
            rows += on_side(await self._others(check, number, there), OTHER)

    async def _others(self, check: Check, number: int, there: Observe) -> list[Row]:
        """Return the rows of the other side, whose failures are not the target's."""
        if self.other is None:
            return []
        try:
            return await self.other.rows(check.id, number, there)
        except (CallFailed, TargetSilent, Unreadable, Incomplete) as error:
            raise OtherFailed(f"the other target: {error}") from error

    async def _silent(self, check: Check, error: TargetSilent, gates: Gates) -> Result:
        """Return what a silence means: nothing, where this process itself did not look for a good part of it."""
        if gates.lag_most < SILENT_SHARE * self.calls.silence:
            return await self._blamed(check, error)
        late = f"{error}, but this process itself was woken {gates.lag_most:.3g} s late meanwhile"
        return result_of(check, Status.INCONCLUSIVE, reason=late)

    async def _blamed(self, check: Check, error: Exception) -> Result:
        """Return whose fault an exception is. Raises `TargetLost` when nothing answers any more."""
        if isinstance(error, HookFailed | OtherFailed):
            return result_of(check, Status.ERROR, reason=str(error))
        is_lost = isinstance(error, CallFailed) and error.is_connection_lost
        is_doubtful = is_lost or isinstance(error, TargetSilent | ClientFailed | EngineUnavailable)
        if is_doubtful and not await is_answering(self.calls):
            raise TargetLost(f"during check {check.id} the target stopped answering: {error}") from error
        kept = f" Request: {error.request}" if isinstance(error, CallFailed) else ""
        return result_of(check, Status.FAIL, reason=f"{error}.{kept[:400]}")

    def _expected(self, result: Result) -> Result:
        issue = self.issues.get(result.id)
        if issue is None or result.status not in BY_AN_ISSUE:
            return result
        return result.model_copy(update={"status": BY_AN_ISSUE[result.status], "issue": issue})


def result_of(check: Check, status: Status, *, reason: str = "", attempts: tuple[Attempt, ...] = ()) -> Result:
    """Return the result of a check."""
    return Result(
        id=check.id,
        title=check.title,
        profile=check.profile,
        requirement=check.requirement,
        clause=check.clause,
        statistic=check.statistic,
        finds=check.finds,
        status=status,
        reason=reason,
        attempts=attempts,
    )


def _seed(seed: int, check_id: str, attempt: int) -> int:
    """Return the seed of an attempt: other checks and attempts get other prompts and draws."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{check_id}/{attempt}".encode()).digest()[:8])


async def _seen(check: Check, probe: Probe) -> None:
    """Observe. Raises `BeyondDeclared` for a refusal that is no fault."""
    try:
        await check.observe(probe)
    except CallFailed as failed:
        told = excuse(probe.model, failed)
        if told:
            raise BeyondDeclared(told) from failed
        raise


def _lessened(judgement: Judgement, problem: str) -> Judgement:
    """Return the judgement of a sample that is not whole, for the reason given."""
    if judgement.status is Status.FAIL:
        return judgement
    return judgement.model_copy(update={"status": Status.INCONCLUSIVE, "problems": (problem, *judgement.problems)})
