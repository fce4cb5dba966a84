"""TH2: the most load at which the declared objectives are kept."""

from bellhousing_conformance.check import check
from bellhousing_conformance.estimates import capacity_of, declare, declared
from bellhousing_conformance.goodput import Limits, bracket, decided, is_undecided, search, seconds_of
from bellhousing_conformance.judges import together
from bellhousing_conformance.loads import NEEDS, Load, capacity, loads_of, send_open
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.slo import judged_floor
from bellhousing_conformance.verdict import Figure, Judgement, NotRun, Rows, Status

SHARE = 0.5
"""Of the capacity: where the search begins."""


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge every load again, and what they say together."""
    slo = declared(rows)
    loads = [load for load in loads_of(rows) if load.scenario != "capacity"]
    if slo is None or not loads:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no load was sent",))
    tries = [decided(load, load.run.info.arrivals.rate, slo) for load in loads]
    found = bracket(tries).figure
    figures = (
        *(Figure(name=f"share at {t.rate:.3g}/s: {t.outcome}", value=t.share, low=t.low, high=t.high) for t in tries),
        found,
    )
    if is_undecided(tries):
        problems = tuple([f"at {tries[-1].rate:.3g} requests/s: {reason}" for reason in tries[-1].reasons])
        return Judgement(status=Status.INCONCLUSIVE, figures=figures, problems=problems)
    measured = Judgement(status=Status.MEASURED, figures=figures)
    parts = [judged_floor("goodput, requests/s", found, slo.goodput)] if slo.goodput else []
    return together(capacity_of(rows), measured, *parts)


@check(
    "TH2",
    title="The most goodput within the declared objectives is found, and as much as is declared",
    clause="bellhousing.v1.Load.max_running",
    profile="throughput",
    tier="standard",
    needs=NEEDS,
    judge=judge,
    statistic="bisection; each step certified by the interval of a VALID load of its own, at most three tries a step",
    finds="with goodput: one that is below the declared one by its bound",
    alone=True,
    seconds=420,
)
async def goodput_is_found(probe: Probe) -> None:
    """Offer more while the objectives are kept and less while they are not."""
    slo = probe.bench.slo
    if slo is None or not slo.objective:
        raise NotRun("no objective is declared; --slo names a file of them")
    declare(probe)
    start = SHARE * await capacity(probe)
    is_small = probe.tier == "smoke"
    limits = Limits(start=start, resolution=0.5 if is_small else 0.2, most_loads=3 if is_small else 6)

    async def send(rate: float, number: int) -> Load:
        seconds = seconds_of(rate, slo, least=1.0 if is_small else 12.0)
        return await send_open(probe, f"load {number}", rate=rate, seconds=seconds)

    await search(send, slo, limits)
