"""`load` and `load-check`."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from typer import Option

from bellhousing.cli.output import FAILED, Json, fail, print_json, print_table, say, stderr, stdout
from bellhousing.cli.spread import spread
from bellhousing.config import explain
from bellhousing.errors import ConfigurationError, DeadlineExceeded, EngineUnavailable
from bellhousing_conformance.cli.interruption import run_until_interrupted
from bellhousing_conformance.cli.objectives import code_of, tell_objectives
from bellhousing_conformance.cli.requirements import check_requirements
from bellhousing_conformance.cli.running import Where
from bellhousing_conformance.estimates import judged_load
from bellhousing_conformance.load.clients import KINDS
from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.load.job import Job, closed_job, open_job
from bellhousing_conformance.load.metrics import METRICS, metric
from bellhousing_conformance.load.null import floor_of
from bellhousing_conformance.load.process import run_load
from bellhousing_conformance.load.record import Arrivals, write_whole
from bellhousing_conformance.load.report import LoadReport, report_of, write_load_report
from bellhousing_conformance.load.schedule import Stage, drawn
from bellhousing_conformance.load.sender import Progress as Sending
from bellhousing_conformance.load.traces import READERS, read_trace
from bellhousing_conformance.load.validation import LAWS, Catch, Validation, catches, validate
from bellhousing_conformance.load.workload import Lengths, Workload, plan_of, plan_of_closed, plan_of_trace
from bellhousing_conformance.loads import load_in
from bellhousing_conformance.report.html import load_html
from bellhousing_conformance.report.outcome import INFRASTRUCTURE
from bellhousing_conformance.slo import load_slo
from bellhousing_conformance.targets.target import Target

UNDECIDED = 4
DEFAULT_FOLDER = Path("load-report")
PAGE_FILE = "load.html"
CHECK_FOLDER = Path("load-check")
CLOSED_REQUESTS = 2000
SABOTAGE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class When:
    """When to send, as flags."""

    arrivals: Annotated[str, Option(help="poisson, gamma or trace.")] = "poisson"
    rate: Annotated[float | None, Option(help="Requests a second.")] = None
    cv: Annotated[float, Option(help="Coefficient of variation of the gaps, with gamma.")] = 3.0
    trace: Annotated[Path | None, Option(help="File of a trace.")] = None
    trace_format: Annotated[str, Option(help=f"{', '.join(READERS)}.")] = ""
    duration: Annotated[float | None, Option(help="Seconds; of a trace all unless told, else 60.")] = None
    warm_up: Annotated[float, Option(help="Seconds at the first rate before what is measured.", min=0)] = 0.0
    ramp: Annotated[float, Option(help="Seconds from rate 0 to the first rate before that.", min=0)] = 0.0
    phase: Annotated[
        list[str] | None,
        Option(help="Instead of --rate and --duration; may be repeated.", metavar="RATE[..END]:SECONDS"),
    ] = None
    concurrency: Annotated[int | None, Option(help="Closed loop: capacity only, no latencies under load.")] = None
    requests: Annotated[int, Option(help="Most requests of a closed loop.", min=1)] = CLOSED_REQUESTS
    deadline: Annotated[float, Option(help="Seconds that a request may take.", min=0.1)] = 60.0
    seed: Annotated[int | None, Option(help="Seed of schedule and prompts; drawn unless told.", min=0)] = None

    def job(self, endpoint: Endpoint, workload: Workload, seed: int) -> Job:
        """Return the job. Raises `ConfigurationError` for flags that do not go together."""
        self._check()
        if self.concurrency is not None:
            plan = plan_of_closed(self.requests, workload, seed, "capacity")
            return closed_job(endpoint, self.concurrency, self._seconds, plan, seed)
        if self.trace is not None:
            rows = read_trace(self.trace, self.trace_format)
            schedule, plan = plan_of_trace(self.trace.name, rows, workload, seed, self.duration)
            return open_job(endpoint, schedule, plan, seed)
        stages = list(self._stages())
        law = Arrivals(self.arrivals, stages[-1].rate, self.cv if self.arrivals == "gamma" else 1.0)
        schedule = drawn(law, stages, seed)
        return open_job(endpoint, schedule, plan_of(schedule, workload, seed), seed)

    @property
    def _seconds(self) -> float:
        return 60.0 if self.duration is None else self.duration

    def _check(self) -> None:
        if self.arrivals not in {"poisson", "gamma", "trace"}:
            raise ConfigurationError(f"--arrivals: expected poisson, gamma or trace, found {self.arrivals!r}")
        if (self.trace is not None) != (self.arrivals == "trace"):
            raise ConfigurationError("expected --arrivals trace and --trace together, found one of them")
        if self.trace is not None and not self.trace_format:
            raise ConfigurationError(f"--trace-format: expected one of {', '.join(READERS)}, found none")
        ways = {
            "--rate": self.rate is not None, "--phase": bool(self.phase), "--trace": self.trace is not None,
            "--concurrency": self.concurrency is not None,
        }  # fmt: skip
        given = [name for name, is_given in ways.items() if is_given]
        if len(given) != 1:
            raise ConfigurationError(f"expected exactly one of {', '.join(ways)}, found {', '.join(given) or 'none'}")
        if (self.ramp or self.warm_up) and given[0] in {"--trace", "--concurrency"}:
            raise ConfigurationError(f"--ramp and --warm-up: expected a rate that they lead to, found {given[0]}")
        if self.phase and self.duration is not None:
            raise ConfigurationError("expected --phase or --duration, found both")

    def _stages(self) -> Iterator[Stage]:
        measured = [_stage(number, text) for number, text in enumerate(self.phase or (), 1)]
        if self.rate is not None:
            measured = [Stage("measured", self.rate, self._seconds)]
        if self.ramp:
            yield Stage("ramp", 0.0, self.ramp, measured[0].rate, is_measured=False)
        if self.warm_up:
            yield Stage("warm-up", measured[0].rate, self.warm_up, is_measured=False)
        yield from measured


@dataclass(frozen=True, slots=True)
class Asking:
    """What to ask, as flags."""

    client: Annotated[str, Option(help=f"{', '.join(KINDS)}.")] = "contract"
    prompt_tokens: Annotated[str | None, Option(help="Tokens of a prompt; 64 unless told.", metavar="N[-M]")] = None
    output_tokens: Annotated[str | None, Option(help="Tokens of an output; 32 unless told.", metavar="N[-M]")] = None
    natural: Annotated[bool, Option("--natural", help="Outputs end where the model ends them.")] = False
    adapter: Annotated[list[str] | None, Option(help="Of this adapter; may be repeated. base is none.")] = None
    zipf: Annotated[float, Option(help="The k-th adapter is asked for k ** -ZIPF as often.", min=0)] = 0.0
    prefixes: Annotated[int, Option(help="Beginnings that prompts share.", min=0)] = 0
    prefix_tokens: Annotated[int, Option(help="Tokens of each.", min=0)] = 0
    turns: Annotated[int, Option(help="Turns of a session; each arrival begins one.", min=1)] = 1
    think: Annotated[float, Option(help="Seconds between the end of a turn and the next.", min=0)] = 0.0
    tokens_per_word: Annotated[float, Option(help="Tokens of a letter and a space.")] = 1.0
    context_length: Annotated[int | None, Option(help="Scale the lengths of a trace to fit.")] = None
    goodput: Annotated[str, Option(help="Limits in seconds that count as good.", metavar="METRIC=S,…")] = ""

    def check(self, *, is_trace: bool) -> None:
        """Raise `ConfigurationError` naming what has no effect: a trace has its own lengths, beginnings and turns."""
        of_trace = {"--context-length": self.context_length}
        of_others = {
            "--prompt-tokens": self.prompt_tokens, "--output-tokens": self.output_tokens, "--prefixes": self.prefixes,
            "--prefix-tokens": self.prefix_tokens, "--turns": self.turns - 1, "--think": self.think,
        }  # fmt: skip
        strangers = [name for name, value in (of_others if is_trace else of_trace).items() if value]
        if strangers:
            where = "with --trace, which has its own" if is_trace else "without --trace"
            raise ConfigurationError(f"{', '.join(strangers)}: no effect {where}")

    def workload(self) -> Workload:
        """Return the workload. Raises `ConfigurationError`."""
        names = [("" if name == "base" else name) for name in self.adapter or ["base"]]
        told: Mapping[str, Any] = {
            "prompt_tokens": lengths("--prompt-tokens", self.prompt_tokens or "64"),
            "output_tokens": lengths("--output-tokens", self.output_tokens or "32"),
            "natural": self.natural,
            "adapters": names,
            "zipf": self.zipf,
            "prefixes": self.prefixes,
            "prefix_tokens": self.prefix_tokens,
            "turns": self.turns,
            "think_seconds": self.think,
            "tokens_per_word": self.tokens_per_word,
            "context_length": self.context_length,
        }
        try:
            return Workload.model_validate(told)
        except ValidationError as error:
            raise ConfigurationError(f"the workload: {explain(error, Workload)}") from error

    def limits(self) -> dict[str, float]:
        """Return the limits of the goodput. Raises `ConfigurationError` for an unknown metric."""
        found: dict[str, float] = {}
        for part in filter(None, self.goodput.split(",")):
            name, _, seconds = part.partition("=")
            found[metric(name.strip()).name] = _number("--goodput", seconds)
        return found

    def endpoint(self, target: Target, deadline: float) -> Endpoint:
        """Return where and how to send."""
        where, tls = target.where, target.where.tls
        files = (tls.ca, tls.certificate, tls.key) if tls else (None, None, None)
        ca, certificate, key = (str(file) if file else "" for file in files)
        return Endpoint(
            self.client, where.address, target.model, self.natural, deadline, where.insecure, ca, certificate, key
        )


def add(app: typer.Typer) -> None:
    """Add the commands."""
    _add_load(app)
    _add_load_check(app)


def _add_load(app: typer.Typer) -> None:
    @app.command("load")
    @spread
    def load(
        where: Where,
        when: When,
        asking: Asking,
        slo: Annotated[Path | None, Option(help="TOML of objectives: PASS, FAIL or INCONCLUSIVE each.")] = None,
        output: Annotated[Path, Option(help="Folder of the run; what it holds is replaced.")] = DEFAULT_FOLDER,
        json: Json = False,
    ) -> None:
        """Send load on a schedule and tell what came of it, VALID or INVALID.

        Exit codes: 0 VALID, and every objective passed; 1 an objective failed; 2 the command or a file is wrong;
        3 nobody answered; 4 INVALID, or an objective could not be decided.
        """
        check_requirements()
        objectives = load_slo(slo) if slo else None
        try:
            report = run_until_interrupted(_run(where, when, asking, output))
        except (EngineUnavailable, DeadlineExceeded) as error:
            fail(error)
            raise typer.Exit(INFRASTRUCTURE) from error
        judged = judged_load(objectives, load_in(output, report.floor)) if objectives else []
        if json:
            told = {"objectives": [{"objective": name, **each.model_dump(mode="json")} for name, each in judged]}
            print_json(report.model_dump(mode="json") | (told if judged else {}))
        else:
            _tell(report, output)
            tell_objectives(judged)
        raise typer.Exit(
            code_of([each.status for _, each in judged]) or (0 if report.verdict == "VALID" else UNDECIDED)
        )


def _add_load_check(app: typer.Typer) -> None:
    @app.command("load-check")
    def load_check(
        duration: Annotated[float, Option(help="Seconds of each law.", min=1)] = 60.0,
        seed: Annotated[int, Option(help="Seed of the schedules.", min=0)] = 1,
        output: Annotated[Path, Option(help="Folder of the raw rows.")] = CHECK_FOLDER,
        json: Json = False,
    ) -> None:
        """Check the measuring itself: known service times must come back, and dishonest senders be caught.

        Exit codes: 0 all right; 1 a figure of a VALID run is wrong, or a dishonest sender got through; 4 a run was
        INVALID, so that its figures say nothing.
        """
        check_requirements()
        found, caught = run_until_interrupted(_checked(duration, seed, output))
        if json:
            laws = [each.model_dump(mode="json") for each in found]
            print_json({"validations": laws, "saboteurs": [each.model_dump(mode="json") for each in caught]})
        else:
            _tell_check(found, caught)
        is_wrong = any(v.is_valid and not all(f.is_right for f in v.figures) for v in found)
        if is_wrong or not all(each.is_caught for each in caught):
            raise typer.Exit(FAILED)
        raise typer.Exit(0 if all(v.is_valid for v in found) else UNDECIDED)


async def _run(where: Where, when: When, asking: Asking, output: Path) -> LoadReport:
    seed = secrets.randbelow(2**31) if when.seed is None else when.seed
    asking.check(is_trace=when.trace is not None)
    limits, workload = asking.limits(), asking.workload()
    async with where.reached() as target:
        job = when.job(asking.endpoint(target, when.deadline), workload, seed)
        has_floor = job.endpoint.kind == "contract" and job.arrivals.is_open
        if has_floor:
            say("measuring what the sender itself adds, on a server that does nothing")
        floor = await floor_of(job) if has_floor else None
        with _Display(job) as display:
            await run_load(job, output, display.sending, token=target.where.token)
    report = report_of(output, floor=floor, limits=limits)
    write_load_report(report, output)
    write_whole(load_html(report, load_in(output, floor)), output / PAGE_FILE)
    return report


async def _checked(duration: float, seed: int, output: Path) -> tuple[list[Validation], list[Catch]]:
    found = []
    for law in LAWS:
        say(f"measuring known service times under {law} arrivals, {duration:g} s")
        found.append(await validate(law, duration, seed, output / law.lower()))
    say("running the dishonest senders")
    return found, await catches(SABOTAGE_SECONDS, seed)


class _Display:
    """A bar with the time left and what was sent, in a terminal."""

    def __init__(self, job: Job) -> None:
        self._seconds = job.phases[-1].end_ns / 1e9
        columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
        self._task = self._bar.add_task("", total=self._seconds)

    def __enter__(self) -> "_Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def sending(self, progress: Sending) -> None:
        told = f"{progress.sent} sent, {progress.ended} ended, {progress.failed} failed"
        self._bar.update(self._task, completed=min(progress.seconds, self._seconds), description=told)


def _tell(report: LoadReport, output: Path) -> None:
    known = {found.id: found.title for found in METRICS.values()}
    rows = [
        (known[each.metric], f"p{each.percent}", str(each.n), each.text)
        for each in report.estimates
        if each.is_printable or each.percent == 50
    ]
    say(f"{report.scenario}; seed {report.seed}")
    print_table(("METRIC", "", "N", "ESTIMATE [95 %]"), rows)
    rates = [
        ("tokens/s received", f"{report.tokens_per_second:.4g}"),
        ("requests/s", f"{report.requests_per_second:.4g}"),
    ]
    if report.goodput_per_second is not None:
        rates.append((f"good requests/s ({report.limits})", f"{report.goodput_per_second:.4g}"))
    rates += [(f"failed with {code}", str(count)) for code, count in report.failures.items()]
    print_table(("RATE", f"OVER {report.window_seconds:.4g} S"), rates)
    gates = [(_mark(g.is_kept, g.is_applicable), g.name, g.found, g.bound) for g in report.gates]
    print_table(("GATE", "", "FOUND", "EXPECTED"), gates)
    _line(report.verdict)
    for reason in report.reasons:
        _line(f"  {reason}")
    _line(f"report: {output / PAGE_FILE}")


def _tell_check(found: list[Validation], caught: list[Catch]) -> None:
    for each in found:
        _line(f"{each.law}: {'VALID' if each.is_valid else 'INVALID'}")
        rows = [
            (f.name, f"{f.known:.5g}", f"{f.measured:.5g}", f"{f.bound:.3g}", "right" if f.is_right else "WRONG")
            for f in each.figures
        ]
        print_table(("FIGURE", "KNOWN", "MEASURED", "MAY DIFFER", ""), rows)
        for gate in each.gates:
            if not gate.is_kept:
                _line(f"  {gate.reason}")
    senders = [(c.name, c.defect, "caught" if c.is_caught else "NOT CAUGHT", ", ".join(c.missed)) for c in caught]
    print_table(("DISHONEST SENDER", "DEFECT", "", "GATES MISSED"), senders)


def _mark(is_kept: bool, is_applicable: bool) -> str:
    if not is_applicable:
        return "left out"
    return "kept" if is_kept else "MISSED"


def _line(text: str) -> None:
    stdout.print(text, highlight=False, markup=False, soft_wrap=True)


def _stage(number: int, text: str) -> Stage:
    rates, _, seconds = text.partition(":")
    first, is_ramp, last = rates.partition("..")
    end = _number("--phase", last) if is_ramp else None
    return Stage(f"phase-{number}", _number("--phase", first), _number("--phase", seconds), end)


def lengths(flag: str, text: str) -> Lengths:
    low, _, high = text.partition("-")
    try:
        return Lengths(low=int(low), high=int(high or low))
    except ValueError as error:
        raise ConfigurationError(f"{flag}: expected N or N-M, both at least 1 and in order, found {text!r}") from error


def _number(flag: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigurationError(f"{flag}: expected a number, found {text!r}") from error
