"""D03: a prompt that is in the cache gives what it gave when it was new."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.agreement import partings
from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.near_tie import first_divergence, tolerance_at
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

LENGTH = 24


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Require equal outputs; at the first difference the two best tokens may be a near tie, which is a DIVERGENCE.

    The contract promises the same output for the same request, and does not say whether its prompt may be cached.
    Where the target tells that nothing was cached, equal outputs show nothing.
    """
    pairs = [row for row in rows if row["kind"] == "pair"]
    if not pairs:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no pair was generated",))
    parted = [(row, place) for row in pairs if (place := first_divergence(*row["ids"])) is not None]
    wrong = [(row, place) for row, place in parted if _gap(row["gaps"], place) > row["tolerance"]]
    cached = sum(row["cached_tokens"] > 0 for row in pairs)
    figures = (
        Figure(name="n", value=len(pairs)),
        Figure(name="prompts known to be cached", value=cached),
        Figure(name="outputs that part at a near tie", value=len(parted) - len(wrong)),
        *partings(place for _, place in parted),
    )
    if wrong:
        return Judgement(status=Status.FAIL, figures=figures, problems=tuple(_problem(*each) for each in wrong))
    if parted:
        problem = f"{len(parted)} of {len(pairs)} cached outputs part from the cold ones, each at a near tie"
        return Judgement(status=Status.DIVERGENCE, figures=figures, problems=(problem,))
    if not cached and all(row.get("is_cached_told") for row in pairs):
        problem = "no prompt was answered from the cache: cached_tokens was 0 each time"
        return Judgement(status=Status.INCONCLUSIVE, figures=figures, problems=(problem,))
    return Judgement(status=Status.PASS, figures=figures)


def _gap(gaps: list[float], place: int) -> float:
    return gaps[place] if place < len(gaps) else float("inf")


def _problem(row: object, place: int) -> str:
    told = dict(row)  # type: ignore[call-overload] # a row is a mapping
    gap = _gap(told["gaps"], place)
    return (
        f"{told['what']}, cold against cached: expected the same ids, found a difference at place {place}, where the "
        f"two best tokens are {gap:.3g} nats apart (a tie is at most {told['tolerance']:g})"
    )


@check(
    "D03",
    title="A prompt answered from the prefix cache gives the output that it gave cold",
    clause="bellhousing.v1.Capabilities.prefix_cache",
    profile="determinism",
    tier="standard",
    needs=("prefix_cache", "sampling.max_tokens", "sampling.temperature", "determinism", "token_ids", "logprobs.top"),
    judge=judge,
    statistic="zero greedy outputs that part where it is no near tie",
    finds="one output that a cached prompt, whole or in part, changes by more than rounding",
    seconds=240,
)
async def cached_prompt_changes_nothing(probe: Probe) -> None:
    """Ask cold, then again; then with a longer prompt, half of which is cached, and that one again."""
    for _ in range(probe.size(smoke=3, standard=12)):
        prompt = probe.long_prompt()
        longer = f"{prompt} there was a bell, and every evening"
        await _pair(probe, prompt, "a whole prompt")
        await _pair(probe, longer, "a prompt whose beginning was cached")


async def _pair(probe: Probe, prompt: str, what: str) -> None:
    request = probe.request(prompt, max_tokens=LENGTH, temperature=0.0, logprobs=probe.alternatives(2))
    first, second = await probe.run(request), await probe.run(request)
    probe.observe(
        "pair",
        what=what,
        ids=[first.ids(), second.ids()],
        gaps=_gaps(first),
        tolerance=tolerance_at(probe.model.precision),
        cached_tokens=_cached(second),
        is_cached_told=second.finished.usage.HasField("cached_tokens") or second.started.HasField("cached_tokens"),
    )


def _gaps(run: Run) -> list[float]:
    """Return how far apart the two best tokens were at each place; endless where the target does not tell."""
    gaps: list[float] = []
    for delta in run.deltas():
        told = [_gap_of(entry) for entry in delta.logprobs]
        gaps += told if len(told) == delta.token_count else [1e9] * delta.token_count
    return gaps


def _gap_of(entry: pb.TokenLogprob) -> float:
    return entry.top[0].logprob - entry.top[1].logprob if len(entry.top) > 1 else 1e9


def _cached(run: Run) -> int:
    return run.finished.usage.cached_tokens or run.started.cached_tokens
