"""Judges of loads: estimates of a VALID load, and what they mean for the objectives that were declared.

An attempt notes what was declared in a row `slo`, so that its rows alone decide. Without an objective a valid estimate
is MEASURED; an INVALID load decides nothing, whatever it shows.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from bellhousing_conformance.judges import Judge, together
from bellhousing_conformance.load.metrics import METRICS, throughput
from bellhousing_conformance.load.percentiles import LEAST_SIZES, percentile
from bellhousing_conformance.loads import Load, loads_of
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.slo import SHARE_OF_GOOD, Slo, judged_attainment, judged_floor, judged_objective
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

BLOCKS = 10


def declare(probe: Probe) -> None:
    """Note the objectives of the run."""
    if probe.bench.slo is not None:
        probe.observe("slo", declared=probe.bench.slo.model_dump(mode="json"))


def declared(rows: Rows) -> Slo | None:
    """Return the objectives that an attempt was judged by."""
    return next((Slo.model_validate(row["declared"]) for row in rows if row["kind"] == "slo"), None)


def estimated(*metrics: str) -> Judge:
    """Return the judge of these metrics of every load of an attempt, and of the objectives on them."""

    def judge(rows: Rows, _alpha: float) -> Judgement:
        slo, loads = declared(rows), _judged(rows)
        if not loads:
            return Judgement(status=Status.INCONCLUSIVE, problems=("no load was sent",))
        parts = [_estimates(load, metrics, slo) for load in loads]
        return together(capacity_of(rows), *parts)

    return judge


def attained(rows: Rows, _alpha: float = 0.0) -> Judgement:
    """Judge the share of good requests of every load; without declared objectives there is none."""
    slo = declared(rows)
    if slo is None or not slo.objective:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no objective is declared: --slo names a file",))
    parts = [invalid(load) or named(load.scenario, judged_attainment(slo, load.measured)) for load in _judged(rows)]
    return together(capacity_of(rows), *parts)


def judged_load(slo: Slo, load: Load) -> list[tuple[str, Judgement]]:
    """Return what a load comes to for each declared objective that a single load can say something of, by its name."""
    told: list[tuple[str, Judgement]] = [
        (f"{each.name} at most {each.limit:g} {each.unit}", judged_objective(each, load.measured, load.deadline))
        for each in slo.objective
    ]
    if slo.objective:
        attainment = judged_attainment(slo, load.measured)
        told.append((f"at least {slo.least_attainment:.4g} of requests good", attainment))
        if slo.goodput is not None:
            found = judged_floor("goodput", _good(load, slo), slo.goodput)
            told.append((f"at least {slo.goodput:g} good requests/s", found))
    if slo.throughput is not None:
        found = judged_floor("throughput", throughput_figure(load), slo.throughput)
        told.append((f"at least {slo.throughput:g} tokens/s", found))
    wrong = invalid(load)
    return told if wrong is None else [(name, wrong) for name, _ in told]


def _good(load: Load, slo: Slo) -> Figure:
    """Return the good requests a second of a load, with the interval of their share of what was offered."""
    start, end = load.window
    offered = len(load.measured) / ((end - start) / 1e9)
    share = next((f for f in judged_attainment(slo, load.measured).figures if f.name == SHARE_OF_GOOD), None)
    if share is None or share.low is None or share.high is None:
        return Figure(name="goodput", value=0.0, low=0.0, high=0.0)
    return Figure(name="goodput", value=share.value * offered, low=share.low * offered, high=share.high * offered)


def invalid(load: Load, ignoring: Sequence[str] = ()) -> Judgement | None:
    """Return what an INVALID load comes to, with every reason; None for one that is VALID but for some gates."""
    reasons = [reason for name, reason in load.missed.items() if name not in ignoring]
    if not reasons:
        return None
    problems = tuple([f"{load.scenario}: INVALID: {reason}" for reason in reasons])
    return Judgement(status=Status.INCONCLUSIVE, problems=problems)


def named(scenario: str, judgement: Judgement) -> Judgement:
    """Return a judgement whose figures and problems say which load they are of."""
    figures = tuple([figure.model_copy(update={"name": f"{scenario}: {figure.name}"}) for figure in judgement.figures])
    problems = tuple([f"{scenario}: {problem}" for problem in judgement.problems])
    return Judgement(status=judgement.status, figures=figures, problems=problems)


def capacity_of(rows: Rows) -> Judgement:
    """Return the capacity that the rates of an attempt are shares of, as a figure."""
    told = [row for row in rows if row["kind"] == "capacity"]
    figures = tuple([Figure(name=f"capacity, {row['source']}, requests/s", value=row["per_second"]) for row in told])
    return Judgement(status=Status.MEASURED, figures=figures[:1])


def throughput_figure(load: Load, name: str = "tokens/s") -> Figure:
    """Return the tokens a second of a load; its interval is Student's of equal blocks of the window."""
    from scipy.stats import t

    start, end = load.window
    step = (end - start) / BLOCKS
    edges = [round(start + step * place) for place in range(BLOCKS + 1)]
    rates = [throughput(load.run.rows, a, b) for a, b in pairwise(edges)]
    mean = math.fsum(rates) / BLOCKS
    spread = math.sqrt(math.fsum((rate - mean) ** 2 for rate in rates) / (BLOCKS - 1) / BLOCKS)
    half = float(t.ppf(0.975, BLOCKS - 1)) * spread
    return Figure(name=name, value=mean, low=max(0.0, mean - half), high=mean + half)


def percentile_figures(load: Load, metrics: Iterable[str]) -> tuple[Figure, ...]:
    """Return the percentiles of a load that its sample is large enough for; one among the failures is the deadline."""
    figures = [Figure(name="n", value=len(load.measured))]
    for metric in metrics:
        values = METRICS[metric].values(load.measured)
        found = [percentile(values, percent) for percent in LEAST_SIZES] if values else []
        for each in found:
            if each.is_printable:
                more = "" if math.isfinite(each.value) else " or more"
                figures.append(
                    Figure(
                        name=f"{METRICS[metric].title} p{each.percent}, s{more}",
                        value=min(each.value, load.deadline),
                        low=each.low if math.isfinite(each.low) else None,
                        high=each.high if math.isfinite(each.high) else None,
                    )
                )
    return tuple(figures)


def _judged(rows: Rows) -> list[Load]:
    return [load for load in loads_of(rows) if load.scenario != "capacity"]


def _estimates(load: Load, metrics: Sequence[str], slo: Slo | None) -> Judgement:
    wrong = invalid(load)
    figures = percentile_figures(load, metrics)
    if wrong is not None:
        return together(wrong, named(load.scenario, Judgement(status=Status.MEASURED, figures=figures)))
    if len(figures) == 1:
        problem = f"{load.scenario}: too few requests for any percentile: {len(load.measured)}"
        return Judgement(status=Status.INCONCLUSIVE, problems=(problem,))
    objectives = slo.about(metrics) if slo else ()
    parts = [judged_objective(each, load.measured, load.deadline) for each in objectives]
    measured = Judgement(status=Status.MEASURED, figures=figures)
    return named(load.scenario, together(measured, *parts))
