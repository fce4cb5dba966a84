"""LT6: what the contract costs beside the engine's own API."""

from dataclasses import replace
from statistics import median

from bellhousing.errors import EngineUnavailable
from bellhousing_conformance.check import check
from bellhousing_conformance.compare.statistics import location
from bellhousing_conformance.estimates import declare, declared, invalid
from bellhousing_conformance.judges import together
from bellhousing_conformance.load.job import closed_job
from bellhousing_conformance.load.workload import Lengths, Workload, plan_of_closed
from bellhousing_conformance.loads import (
    NEEDS,
    PROMPT_TOKENS,
    STEADINESS,
    Load,
    endpoint_of,
    loads_of,
    note,
    output_tokens,
)
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, NotRun, Rows, Status

CONTRACT, NATIVE = "contract", "native"
BLOCK = 5
LEAST_PAIRS = 10


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge the difference of the two ways, request by request: the interval (95 %) is that of Hodges and Lehmann."""
    loads = loads_of(rows)
    wrong = [each for load in loads if (each := invalid(load, ignoring=STEADINESS)) is not None]
    if wrong:
        return together(*wrong)
    pairs = _pairs(loads)
    if len(pairs) < LEAST_PAIRS:
        problem = f"expected at least {LEAST_PAIRS} pairs of equal output, found {len(pairs)}"
        return Judgement(status=Status.INCONCLUSIVE, problems=(problem,))
    found = location([here - there for here, there in pairs])
    middle, low, high = found.estimate, found.low, found.high
    native = median(there for _, there in pairs)
    figures = (
        Figure(name="pairs", value=len(pairs)),
        Figure(name="tax on a request, ms", value=middle, low=low, high=high),
        Figure(name="tax on a request, percent of native", value=100 * middle / native),
        Figure(name="native request, median, ms", value=native),
    )
    slo = declared(rows)
    most = slo.tax_milliseconds if slo else None
    if most is None:
        return Judgement(status=Status.MEASURED, figures=figures)
    if high <= most:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"tax on a request: expected at most {most:g} ms, found {middle:.3g} [{low:.3g}, {high:.3g}]"
    return Judgement(status=Status.FAIL if low > most else Status.INCONCLUSIVE, figures=figures, problems=(problem,))


def _pairs(loads: list[Load]) -> list[tuple[float, float]]:
    """Return the milliseconds of each request on both ways, of those that ended well with as many tokens on both."""
    found: dict[int, dict[str, tuple[float, int]]] = {}
    for load in loads:
        way, _, block = load.scenario.partition(" ")
        for row in load.run.rows:
            if row.is_ok:
                place = int(block) * BLOCK + row.index
                found.setdefault(place, {})[way] = ((row.end_ns - row.sent_ns) / 1e6, row.tokens)
    return [
        (each[CONTRACT][0], each[NATIVE][0])
        for each in found.values()
        if len(each) == 2 and each[CONTRACT][1] == each[NATIVE][1]
    ]


@check(
    "LT6",
    title="What the contract adds to a request beside the engine's own API is measured, and within what is declared",
    clause="bellhousing.v1.Inference.Generate",
    profile="latency",
    tier="standard",
    needs=NEEDS,
    judge=judge,
    statistic="paired differences of requests of equal lengths, Hodges-Lehmann with signed-rank interval",
    finds="with tax_milliseconds: a tax whose whole interval is beyond the limit",
    alone=True,
    seconds=300,
)
async def the_contract_costs_little(probe: Probe) -> None:
    """Send requests of equal lengths and other words by both ways, in turns; --native is the engine's own address."""
    native = probe.bench.native
    if native is None:
        raise NotRun("no address of the engine's own API is known; --native KIND=ADDRESS names one")
    declare(probe)
    own = endpoint_of(probe)
    ways = {CONTRACT: replace(own, natural=own.natural or native.natural), NATIVE: native}
    for block in range(probe.size(smoke=2, standard=8, full=20)):
        # Other words, so that neither way finds the other's in a cache.
        order = [CONTRACT, NATIVE] if block % 2 == 0 else [NATIVE, CONTRACT]
        for way in order:
            tokens = output_tokens(probe)
            workload = Workload(
                prompt_tokens=Lengths(low=PROMPT_TOKENS, high=PROMPT_TOKENS),
                output_tokens=Lengths(low=tokens, high=tokens),
                natural=ways[way].natural,
            )
            seed = probe.seed()
            plan = plan_of_closed(BLOCK, workload, seed, "capacity")
            try:
                await note(probe, f"{way} {block}", closed_job(ways[way], 1, 60.0, plan, seed))
            except EngineUnavailable as error:
                raise NotRun(f"--native and the target: expected both to answer: {error}") from error
