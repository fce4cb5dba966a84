"""`goodput`: the most requests a second within the declared objectives."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from bellhousing.cli.output import Json, fail, print_json, print_table, say, stdout
from bellhousing.cli.spread import spread
from bellhousing.errors import ConfigurationError, DeadlineExceeded, EngineUnavailable
from bellhousing_conformance.cli.interruption import run_until_interrupted
from bellhousing_conformance.cli.loading import Asking
from bellhousing_conformance.cli.objectives import code_of
from bellhousing_conformance.cli.requirements import check_requirements
from bellhousing_conformance.cli.running import Where
from bellhousing_conformance.goodput import Limits, Try, search, seconds_of
from bellhousing_conformance.load.document import write_document
from bellhousing_conformance.load.job import Job, closed_job, open_job
from bellhousing_conformance.load.null import floor_of
from bellhousing_conformance.load.process import run_load
from bellhousing_conformance.load.record import Arrivals, write_whole
from bellhousing_conformance.load.report import report_of
from bellhousing_conformance.load.schedule import Stage, drawn
from bellhousing_conformance.load.workload import plan_of, plan_of_closed
from bellhousing_conformance.loads import WARM_UP_REQUESTS, Load, load_in
from bellhousing_conformance.report.html import goodput_html
from bellhousing_conformance.report.outcome import INFRASTRUCTURE
from bellhousing_conformance.report.search import (
    SEARCH_FILE,
    SEARCH_PAGE,
    Asked,
    Goodput,
    goodput_of,
    load_folder,
    read_goodput,
    require_same,
)
from bellhousing_conformance.slo import Slo, load_slo
from bellhousing_conformance.targets.target import Target

DEFAULT_FOLDER = Path("goodput-report")
START_SHARE = 0.5
CAPACITY_SECONDS, CAPACITY_CONCURRENCY = 10.0, 8
OVERHEAD_SECONDS = 8.0
"""What a load takes beside its requests: two processes that start, and the server that does nothing."""


@dataclass(frozen=True, slots=True)
class Searching:
    """How to search, as flags."""

    begin: Annotated[float | None, Option(help="Requests a second to begin at; half the capacity unless told.")] = None
    resolution: Annotated[float, Option(help="How near the rates around the answer must be.", min=0.01, max=1)] = 0.15
    most_loads: Annotated[int, Option(help="Loads at most, those that are sent anew among them.", min=1)] = 12
    seconds: Annotated[float, Option(help="Least seconds of a load; longer where its sample needs it.", min=1)] = 20.0
    deadline: Annotated[float, Option(help="Seconds that a request may take.", min=0.1)] = 60.0
    seed: Annotated[int | None, Option(help="Seed of schedules and prompts; drawn unless told.", min=0)] = None


def add(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("goodput")
    @spread
    def goodput(
        where: Where,
        how: Searching,
        asking: Asking,
        slo: Annotated[Path | None, Option(help="TOML of objectives.")] = None,
        resume: Annotated[bool, Option("--resume", help="Keep the loads of a broken search.")] = False,
        output: Annotated[Path, Option(help="Folder of the loads.")] = DEFAULT_FOLDER,
        json: Json = False,
    ) -> None:
        """Find by bisection how many requests a second are served within the objectives of --slo.

        Each step is a load of its own that must be VALID, and whose interval must decide. Exit codes: 0 found, and as
        much as is declared; 1 less than is declared; 2 the command or a file is wrong; 3 nobody answered; 4 undecided.
        """
        check_requirements()
        if slo is None or not (objectives := load_slo(slo)).objective:
            raise ConfigurationError("goodput: expected --slo with an objective that says what is good, found none")
        if asking.goodput:
            raise ConfigurationError("--goodput: expected the limits in --slo, found them twice")
        asking.check(is_trace=False)
        try:
            found = run_until_interrupted(_search(where, how, asking, objectives, output, resume=resume))
        except (EngineUnavailable, DeadlineExceeded) as error:
            fail(error)
            raise typer.Exit(INFRASTRUCTURE) from error
        if json:
            print_json(found.model_dump(mode="json"))
        else:
            _tell(found, output)
        raise typer.Exit(code_of([found.status]))


async def _search(where: Where, how: Searching, asking: Asking, slo: Slo, output: Path, *, resume: bool) -> Goodput:
    kept = read_goodput(output) if resume and (output / SEARCH_FILE).is_file() else None
    seed = how.seed if how.seed is not None else kept.asked.seed if kept else secrets.randbelow(2**31)
    async with where.reached() as target:
        bench = _Loads(target, asking, how.deadline, seed, output)
        start = how.begin or (kept.asked.start if kept else await bench.capacity() * START_SHARE)
        limits = Limits(start=start, resolution=how.resolution, most_loads=how.most_loads)
        asked = Asked(
            target=where.target or where.start or str(where.config), started=_started(where), model=target.model,
            client=asking.client, deadline=how.deadline, workload=asking.workload(), slo=slo, seed=seed, start=start,
            seconds=how.seconds, limits=limits,
        )  # fmt: skip
        if kept is not None:
            require_same(kept.asked, asked, output)
            bench.floors += kept.floors
        seconds = seconds_of(start, slo, how.seconds) + WARM_UP_REQUESTS / start + OVERHEAD_SECONDS
        say(f"about {seconds:.0f} s a load at {start:.3g} requests/s, at most {how.most_loads} loads; seed {seed}")

        async def send(rate: float, number: int) -> Load:
            return await bench.load(rate, number, seconds_of(rate, slo, how.seconds))

        def told(tries: Sequence[Try]) -> None:
            _told(tries[-1], len(tries))
            write_goodput(goodput_of(asked, tries, bench.floors), output)

        tries = await search(send, slo, limits, told)
    return goodput_of(asked, tries, bench.floors)


def _started(where: Where) -> dict[str, str]:
    """Return how a server is started, but for the backend and the model."""
    told = {
        "option": ", ".join(sorted(where.option or ())),
        "python": str(where.python or ""),
        "tensor_parallel": str(where.tensor_parallel),
        "max_sequences": str(where.max_sequences),
    }
    return told if where.start else {}


class _Loads:
    """Sends the loads of a search, each into a folder of its own; those that are there are not sent again."""

    def __init__(self, target: Target, asking: Asking, deadline: float, seed: int, output: Path) -> None:
        self._target = target
        self._endpoint = asking.endpoint(target, deadline)
        self._workload = asking.workload()
        self._seed = seed
        self._output = output
        self.floors: list[dict[str, float] | None] = []

    async def capacity(self) -> float:
        """Return the requests a second that a closed loop brings."""
        say(f"measuring the capacity, {CAPACITY_SECONDS:g} s")
        plan = plan_of_closed(2000, self._workload, self._seed, "capacity")
        job = closed_job(self._endpoint, CAPACITY_CONCURRENCY, CAPACITY_SECONDS, plan, self._seed)
        await self._send(job, self._output / "capacity")
        return max(0.1, report_of(self._output / "capacity").requests_per_second)

    async def load(self, rate: float, number: int, seconds: float) -> Load:
        """Return the load of a number, sent at a rate unless a broken search has it."""
        folder = load_folder(self._output, number)
        if number >= len(self.floors):
            seed = self._seed + number
            stages = [
                Stage("warm-up", rate, WARM_UP_REQUESTS / rate, is_measured=False),
                Stage("measured", rate, seconds),
            ]
            schedule = drawn(Arrivals("poisson", rate), stages, seed)
            job = open_job(self._endpoint, schedule, plan_of(schedule, self._workload, seed), seed)
            floor = await floor_of(job) if self._endpoint.kind == "contract" else None
            await self._send(job, folder)
            self.floors.append(floor)
        return load_in(folder, self.floors[number], f"load {number}")

    async def _send(self, job: Job, folder: Path) -> None:
        await run_load(job, folder, token=self._target.where.token)


def write_goodput(found: Goodput, folder: Path) -> None:
    """Write the document of a search and its page into its folder. Raises `ConfigurationError`."""
    write_document(found, folder / SEARCH_FILE)
    write_whole(goodput_html(found), folder / SEARCH_PAGE)


def _told(last: Try, number: int) -> None:
    reasons = f": {'; '.join(last.reasons)}" if last.reasons else ""
    share = f"{last.share:.1%} good [{last.low:.1%}, {last.high:.1%}] of {last.n}"
    say(f"load {number}: {last.rate:.4g} requests/s {last.outcome}, {share}{reasons}")


def _tell(found: Goodput, output: Path) -> None:
    rows = [(f"{t.rate:.4g}", t.outcome, f"{t.share:.1%} [{t.low:.1%}, {t.high:.1%}]", str(t.n)) for t in found.tries]
    print_table(("REQUESTS/S", "", "GOOD", "N"), rows)
    figure = found.goodput
    high = "no bound found" if figure.high is None else f"{figure.high:.4g}"
    _line(f"{found.status}: goodput {figure.value:.4g} good requests/s, between {figure.low:.4g} and {high}")
    for problem in found.problems:
        _line(f"  {problem}")
    _line(f"report: {output / SEARCH_PAGE}")


def _line(text: str) -> None:
    stdout.print(text, highlight=False, markup=False, soft_wrap=True)
