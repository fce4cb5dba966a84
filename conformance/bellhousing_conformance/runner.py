"""A run: which checks, in which order, until when; it always ends with a report."""

import asyncio
import hashlib
import os
import platform
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import grpc

import bellhousing
from bellhousing.v1 import admin_pb2, discovery_pb2, inference_pb2
from bellhousing_conformance.against import LiveOther, RecordedOther
from bellhousing_conformance.bench import Bench
from bellhousing_conformance.calls import Calls
from bellhousing_conformance.check import Check, catalogue
from bellhousing_conformance.examination import Examined, Examiner, TargetLost, result_of
from bellhousing_conformance.oracles import Reference, oracle_of
from bellhousing_conformance.preflight import CONTRACT, HalfImplemented, Unjudgeable, look, settled
from bellhousing_conformance.report.model import Attempt, ConformanceReport, Host, Result, Subject, Suite
from bellhousing_conformance.report.outcome import exit_code, is_conformant, left_out, profiles_of
from bellhousing_conformance.report.samples import write_samples
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Status, Tier

INTERRUPTED = "the run was interrupted"
LEAD = "C01"
"""The check of the description: it fails when the target is too incomplete to be asked anything else."""


class Display(Protocol):
    """Who is told how the run goes."""

    def checking(self, check: Check) -> None:
        """A check begins."""

    def checked(self, result: Result) -> None:
        """A check has ended."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `skipped` maps check ids to the operator's reason, `issues` known failures to their issue.

    `against` is the other side of paired checks; with `record` they observe without one, for a later run. `bench` is
    what the checks that measure are told.
    """

    checks: Sequence[Check]
    tier: Tier
    seed: int
    skipped: Mapping[str, str] = field(default_factory=dict)
    issues: Mapping[str, str] = field(default_factory=dict)
    keep_going: bool = False
    against: Target | RecordedOther | None = None
    record: bool = False
    task_file: Path | None = None
    reference: Reference | None = None
    bench: Bench = field(default_factory=Bench)
    reproduce: str = "bellhousing conformance run"


def command(flags: Sequence[str], tier: Tier, seed: int) -> str:
    """Return the command that runs a plan again; `flags` name the target."""
    return shlex.join(["bellhousing", "conformance", "run", *flags, "--tier", tier, "--seed", str(seed)])


@dataclass(slots=True)
class _Log:
    """What a run has come to so far."""

    folder: Path
    reproduce: str
    display: Display | None
    results: dict[str, Result] = field(default_factory=dict)
    subject: Subject | None = None
    against: Subject | None = None
    failure: str = ""
    suite: Suite = field(default_factory=lambda: this_suite())  # noqa: PLW0108 - it is defined below
    """Taken when the run begins: files that change meanwhile are not what ran."""

    def add(self, examined: Examined) -> None:
        """Take a result; write its samples."""
        result, rows = examined.result, examined.rows
        pairs = zip(result.attempts, rows, strict=True)
        attempts = tuple([self._kept(result.id, attempt, kept) for attempt, kept in pairs])
        reproduce = f"{self.reproduce} --check {result.id}"
        self.results[result.id] = result.model_copy(update={"attempts": attempts, "reproduce": reproduce})
        if self.display is not None:
            self.display.checked(self.results[result.id])

    def _kept(self, check_id: str, attempt: Attempt, rows: Sequence[Mapping[str, object]]) -> Attempt:
        name, digest = write_samples(self.folder, f"{check_id}-{attempt.number}", rows)
        return attempt.model_copy(update={"samples": name, "sha256": digest})


async def run(target: Target, plan: Plan, folder: Path, display: Display | None = None) -> ConformanceReport:
    """Run the checks of a plan against a target; samples go below `folder`.

    Whatever happens, there is a report: a run that is cancelled ends with what it has.
    """
    began, clock = datetime.now(UTC), time.monotonic()
    log = _Log(folder, plan.reproduce, display)
    async with Calls(target.where, target.silence) as calls:
        try:
            model = await look(calls, target)
            log.subject = _subject(target, model, plan.reference)
            await _run_against(calls, target, model, plan, log)
        except Unjudgeable as error:
            log.failure = str(error)
        except HalfImplemented as error:
            _blame_lead(plan, log, str(error))
        except asyncio.CancelledError:
            log.failure = INTERRUPTED
    results = [log.results.get(check.id) or _not_run(check, log.failure) for check in plan.checks]
    return _report(target, plan, log, results, began, time.monotonic() - clock)


async def _run_against(calls: Calls, target: Target, model: discovery_pb2.Model, plan: Plan, log: _Log) -> None:
    """Run all with the other side at hand, where there is one."""
    oracle = oracle_of(model)
    examiner = Examiner(calls, model, plan.tier, plan.seed, target.hooks, oracle, plan.issues)
    examiner = replace(examiner, record=plan.record, task_file=plan.task_file, reference=plan.reference)
    examiner = replace(examiner, adapters=target.adapters, bench=plan.bench)
    if isinstance(plan.against, Target):
        async with Calls(plan.against.where, plan.against.silence) as others:
            try:
                other = await look(others, plan.against)
            except (Unjudgeable, HalfImplemented) as error:
                log.failure = f"--against: {error}"
                return
            log.against = _subject(plan.against, other)
            await _run_all(replace(examiner, other=LiveOther(log.against, others, other)), target, plan, log)
        return
    if plan.against is not None:
        log.against = plan.against.subject
        examiner = replace(examiner, other=plan.against)
    await _run_all(examiner, target, plan, log)


async def _run_all(examiner: Examiner, target: Target, plan: Plan, log: _Log) -> None:
    small = [check for check in plan.checks if check.tier == "smoke"]
    rest = [check for check in plan.checks if check.tier != "smoke"]
    try:
        await _run_some(examiner, target, small, plan, log)
        failed = [r.id for r in log.results.values() if r.status is Status.FAIL and r.requirement == "MUST"]
        if failed and rest and not plan.keep_going:
            for check in rest:
                reason = f"not begun after {', '.join(failed)} failed; --keep-going runs it"
                log.add(Examined(result_of(check, Status.NOT_RUN, reason=reason)))
            return
        await _run_some(examiner, target, rest, plan, log)
    except TargetLost as error:
        log.failure = str(error)


async def _run_some(examiner: Examiner, target: Target, checks: Sequence[Check], plan: Plan, log: _Log) -> None:
    for check in checks:
        if check.id in plan.skipped:
            log.add(Examined(result_of(check, Status.SKIPPED, reason=plan.skipped[check.id])))
            continue
        if log.display is not None:
            log.display.checking(check)
        await settled(examiner.calls, target)
        log.add(await examiner.examine(check))


def _blame_lead(plan: Plan, log: _Log, reason: str) -> None:
    """Fail the check of the description, or the first one when it was not asked for."""
    lead = next((check for check in plan.checks if check.id == LEAD), plan.checks[0] if plan.checks else None)
    if lead is not None:
        log.add(Examined(result_of(lead, Status.FAIL, reason=reason)))
    log.failure = f"nothing else can be asked: {reason}"


def _not_run(check: Check, failure: str) -> Result:
    return result_of(check, Status.NOT_RUN, reason=failure)


def _report(
    target: Target, plan: Plan, log: _Log, results: list[Result], began: datetime, seconds: float
) -> ConformanceReport:
    profiles, missing = profiles_of(results), left_out(catalogue(), plan.checks)
    return ConformanceReport(
        suite=log.suite,
        subject=log.subject or Subject(address=target.where.address, model=target.model),
        host=_host(),
        seed=plan.seed,
        tier=plan.tier,
        began=began,
        seconds=round(seconds, 3),
        profiles=profiles,
        checks=tuple(results),
        left_out=missing,
        conformant=is_conformant(profiles, missing),
        exit_code=exit_code(results, failure=log.failure),
        failure=log.failure,
        against=log.against,
    )


def _subject(target: Target, model: discovery_pb2.Model, reference: Reference | None = None) -> Subject:
    oracle = reference or oracle_of(model)
    subject = Subject.of(target.where.address, model)
    return subject.model_copy(update={"oracle": oracle.name}) if oracle else subject


def this_suite() -> Suite:
    """Return what judges here."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    contract = [file.DESCRIPTOR.serialized_pb for file in (inference_pb2, discovery_pb2, admin_pb2)]
    return Suite(
        version=bellhousing.__version__,
        digest=_digest([source.read_bytes() for source in sources]),
        contract=CONTRACT,
        contract_digest=_digest(contract),
    )


def _digest(parts: Sequence[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return f"sha256:{whole.hexdigest()}"


def _host() -> Host:
    system = f"{platform.system()} {platform.machine()}"
    return Host(system=system, python=platform.python_version(), grpcio=grpc.__version__, cpus=os.cpu_count() or 1)
