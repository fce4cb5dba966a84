"""P07: in which order temperature and filters are applied."""

import math
from dataclasses import dataclass

from bellhousing_conformance.check import check
from bellhousing_conformance.judges import together
from bellhousing_conformance.places import Step, observe_places, survivors
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Row, Rows, Status

IMPOSSIBLE = math.log(1e-4)
"""Log likelihood of a draw that an order rules out: rounding may make one now and then."""

DECISIVE = 10.0
"""Nats of log likelihood by which one order must be ahead of the other."""

MOST_OUTSIDE = 0.02
"""Largest share of draws that the better order may rule out."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two steps whose order can be told. `steps` are in the usual order: temperature, top_k, top_p, min_p."""

    steps: tuple[Step, Step]

    @property
    def name(self) -> str:
        """The usual order, in words."""
        return f"{self.steps[0][0]} before {self.steps[1][0]}"


PAIRS = (
    Pair((("temperature", 0.5), ("top_p", 0.8))),
    Pair((("temperature", 0.5), ("min_p", 0.2))),
    Pair((("top_k", 4), ("top_p", 0.7))),
    Pair((("top_p", 0.7), ("min_p", 0.15))),
)


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Classify each pair by likelihood.

    Another order than the usual one is a DIVERGENCE; draws that no order allows are a FAIL.
    """
    return together(*(_classify(rows, pair) for pair in PAIRS))


def _classify(rows: Rows, pair: Pair) -> Judgement:
    power = 1 / dict(pair.steps).get("temperature", 1.0)
    orders = (pair.steps, pair.steps[::-1])
    places = [row for row in rows if row["kind"] == "place" and row["setting"] == pair.name]
    told = [(row, survivors(row["logprobs"], orders[0]), survivors(row["logprobs"], orders[1])) for row in places]
    clear = [(row, a, b) for row, a, b in told if a is not None and b is not None]
    apart = [(row, a, b) for row, a, b in clear if a != b]
    neither = sum(row["rank"] >= max(a, b) for row, a, b in clear)
    usual, other = (math.fsum(_likelihood(row, (a, b)[n], power) for row, a, b in apart) for n in (0, 1))
    figures = (
        Figure(name=f"{pair.name} n", value=len(clear)),
        Figure(name=f"{pair.name} n_eff", value=len(apart)),
        Figure(name=f"{pair.name} log likelihood ratio", value=usual - other),
    )
    if neither > MOST_OUTSIDE * len(clear):
        problem = (
            f"{pair.name}: expected draws that one of the orders allows, found {neither} of {len(clear)} that none does"
        )
        return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))
    if abs(usual - other) < DECISIVE:
        problem = f"{pair.name}: {len(apart)} draws at places where the order matters do not tell which it is"
        return Judgement(status=Status.INCONCLUSIVE, figures=figures, problems=(problem,))
    if usual > other:
        return Judgement(status=Status.PASS, figures=figures)
    found = f"{pair.steps[1][0]} before {pair.steps[0][0]}"
    problem = f"expected {pair.name} as is usual, found {found}; the contract names no order"
    return Judgement(status=Status.DIVERGENCE, figures=figures, problems=(problem,))


def _likelihood(row: Row, count: int, power: float) -> float:
    if row["rank"] >= count:
        return IMPOSSIBLE
    weights = [math.exp(value * power) for rank, value in enumerate(row["logprobs"][:count]) if rank not in row["ends"]]
    return float(row["logprobs"][row["rank"]]) * power - math.log(math.fsum(weights))


@check(
    "P07",
    title="Temperature, top_k, top_p and min_p are applied in the usual order",
    clause="bellhousing.v1.Sampling",
    profile="sampling",
    requirement="SHOULD",
    tier="standard",
    needs=(
        *("sampling.temperature", "sampling.top_k", "sampling.top_p", "sampling.min_p"),
        *("sampling.max_tokens", "logprobs.top", "token_ids"),
    ),
    judge=judge,
    statistic=f"log likelihood ratio of the two orders of each pair, decisive beyond {DECISIVE:g} nats",
    finds="which step of a pair comes first; a step left out, if 2 % of the draws fit neither order then",
    seconds=240,
)
async def filters_come_in_the_usual_order(probe: Probe) -> None:
    """Draw with two steps at a time, where their order changes what is left."""
    for pair in PAIRS:
        values: dict[str, float] = {"temperature": 1.0, **dict(pair.steps)}
        if "top_k" in values:
            values["top_k"] = int(values["top_k"])
        count = probe.size(smoke=192, standard=480)
        await observe_places(probe, pair.name, count, **values)  # type: ignore[arg-type] # names of arguments
