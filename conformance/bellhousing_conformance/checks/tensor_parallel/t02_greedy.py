"""T02: greedy outputs over several ranks are those of one device."""

from bellhousing_conformance.check import check
from bellhousing_conformance.checks.tensor_parallel.t01_same_distribution import along
from bellhousing_conformance.judges import DECIDERS, all_hold, together
from bellhousing_conformance.near_tie import is_near_tie, tolerance_at
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.stats import bound_of_no_failures
from bellhousing_conformance.verdict import Figure, Judgement, Row, Rows, Status


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Pass when each token is the reference's own best one, or within its near tie."""
    told = [row for row in rows if row["kind"] == "token"]
    if not told:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no token was compared",))
    parted = [row for row in told if row["logprob"] < row["best"]]
    wrong = [row for row in parted if not is_near_tie((row["best"], row["logprob"]), row["allowed"])]
    figures = (Figure(name="tokens", value=len(told)), Figure(name="near ties", value=len(parted) - len(wrong)))
    decided = [all_hold(rows)] if any(row["kind"] in DECIDERS for row in rows) else []
    if wrong:
        problems = tuple([_problem(row) for row in wrong])
        return together(Judgement(status=Status.FAIL, figures=figures, problems=problems), *decided)
    bound = Figure(name="rate of other tokens", value=0.0, low=0.0, high=bound_of_no_failures(len(told)))
    return together(Judgement(status=Status.PASS, figures=(*figures, bound)), *decided)


def _problem(row: Row) -> str:
    below = row["best"] - row["logprob"]
    return f"token {row['place']}: expected one within {row['allowed']:g} nat of the best, found one {below:.3g} below"


@check(
    "T02",
    title="Over tensor-parallel ranks each greedy token is the best of one device, or within its near tie",
    clause="bellhousing.v1.Parallelism.tensor_effective",
    profile="tensor-parallel",
    needs=("tensor_parallel", "token_ids", "sampling.max_tokens", "sampling.temperature"),
    judge=judge,
    statistic="tokens beyond a near tie of the reference; zero in n; 95 % bound 3/n",
    finds="one token of the sample that is not the reference's",
    tier="standard",
    reference=True,
)
async def greedy_tokens_are_those_of_one_device(probe: Probe) -> None:
    """Follow each output through the reference, on the target's own tokens: a near tie does not spoil what follows."""
    allowed = tolerance_at(probe.model.precision)
    for _ in range(probe.size(smoke=2, standard=10)):
        prompt = probe.prompt()
        run = await probe.generate(prompt, max_tokens=24, temperature=0.0)
        for place, (token, known) in enumerate(zip(run.ids(), await along(probe, prompt, run.ids()), strict=True)):
            least = min(known.values())
            probe.observe(
                "token", place=place, best=max(known.values()), logprob=known.get(token, least), allowed=allowed
            )
