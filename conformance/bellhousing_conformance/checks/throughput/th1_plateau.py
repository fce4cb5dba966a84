"""TH1: how much a target delivers, however many ask."""

from bellhousing_conformance.check import check
from bellhousing_conformance.estimates import declare, declared, invalid, named, throughput_figure
from bellhousing_conformance.judges import together
from bellhousing_conformance.loads import NEEDS, STEADINESS, loads_of, send_closed
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.slo import judged_floor
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

CONCURRENCIES = (1, 2, 4, 8, 16)
PLATEAU = 0.95
"""The plateau begins at the fewest requests at once that bring this share of the highest throughput."""


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge the highest throughput of the closed loops, and tell where the plateau begins."""
    loads = loads_of(rows)
    # The blocks of an interval tell of a trend, and a slow target has no twenty requests in the time of a loop.
    wrong = [each for load in loads if (each := invalid(load, STEADINESS)) is not None]
    if wrong or not loads:
        return together(Judgement(status=Status.INCONCLUSIVE, problems=() if wrong else ("no load was sent",)), *wrong)
    found = {load.run.info.arrivals.concurrency: throughput_figure(load) for load in loads}
    best = max(found.values(), key=lambda figure: figure.value)
    begins = min(c for c, figure in found.items() if figure.value >= PLATEAU * best.value)
    figures = [named(f"c={c}", Judgement(status=Status.MEASURED, figures=(each,))) for c, each in found.items()]
    plateau = (
        best.model_copy(update={"name": "plateau, tokens/s"}),
        Figure(name="plateau begins at requests", value=begins),
    )
    slo = declared(rows)
    parts = [judged_floor("throughput, tokens/s", best, slo.throughput)] if slo and slo.throughput else []
    return together(*figures, Judgement(status=Status.MEASURED, figures=plateau), *parts)


@check(
    "TH1",
    title="Throughput of closed loops of 1, 2, 4, 8 and 16 is measured, and as much as is declared",
    clause="bellhousing.v1.Load.max_running",
    profile="throughput",
    tier="standard",
    needs=NEEDS,
    judge=judge,
    statistic="tokens received in the window, Student's interval of ten blocks; closed loops, so no latencies",
    finds="with throughput: a plateau whose whole interval is below the declared one",
    alone=True,
    seconds=240,
)
async def throughput_has_a_plateau(probe: Probe) -> None:
    """Keep 1, 2, 4, 8 and 16 requests in flight, each for a while."""
    declare(probe)
    for concurrency in CONCURRENCIES if probe.tier != "smoke" else CONCURRENCIES[::3]:
        seconds = probe.size(smoke=1, standard=10, full=60)
        tokens = probe.size(smoke=48, standard=24)
        await send_closed(probe, f"c={concurrency}", concurrency=concurrency, seconds=seconds, tokens=tokens)
