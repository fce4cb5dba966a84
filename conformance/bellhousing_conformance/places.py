"""Draws at many places of a text, each with the model's own log probabilities there, and what filters keep of them.

A filter keeps a beginning of the tokens, most probable first. So a row tells of each place the log probabilities in
that order and the drawn token, and everything else is computed from it.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Unpack

from bellhousing.client.arguments import GenerateArguments
from bellhousing.v1 import discovery_pb2
from bellhousing_conformance.calls import Run
from bellhousing_conformance.judges import together
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.stats import bound_of_no_failures, g_test
from bellhousing_conformance.verdict import Figure, Judgement, Row, Rows, Status

Step = tuple[Literal["temperature", "top_k", "top_p", "min_p"], float]

ALTERNATIVES = 40
LENGTH = 32
AT_ONCE = 4

TIE = 1e-3
"""Tokens at a filter's edge that are as near as this, in nats, leave open which of them it keeps."""

MASS_TIE = 1e-3
"""The same for a sum of probabilities and `top_p`. Log probabilities come from the very step that draws, so that only
rounding is left; a tie of 0.01 would leave out most places of a flat distribution, whose tokens have less than that."""

MOST_TAIL = 0.002
"""Most mass, after a temperature, of the tokens that are not known."""

BINS = 20


async def observe_places(probe: Probe, setting: str, count: int, **sampling: Unpack[GenerateArguments]) -> None:
    """Note about `count` draws under some sampling as rows `place`. Temperature is 1 unless told.

    The log probabilities are the oracle's, else the target's own where they are told before sampling's steps. Where
    they are told after them, all draws are at one place, whose log probabilities a request without filters tells.
    """
    sampling = {"temperature": 1.0, **sampling}
    if probe.oracle is None and probe.model.capabilities.logprobs_mode != discovery_pb2.LOGPROBS_MODE_RAW:
        await _at_one_place(probe, setting, count, sampling)
        return
    if probe.oracle is None:
        sampling["logprobs"] = probe.alternatives(ALTERNATIVES)
    requests = [
        probe.request(max_tokens=LENGTH, **sampling)  # type: ignore[misc] # the caller does not give max_tokens
        for _ in range(max(1, count // LENGTH))
    ]
    for request in requests:
        if probe.supports("sampling.seed"):
            request.sampling.seed = probe.seed()
    for run in await probe.run_all(requests, at_once=AT_ONCE):
        for logprobs, drawn in _places(probe, run):
            _note(probe, setting, logprobs, drawn)


async def _at_one_place(probe: Probe, setting: str, count: int, sampling: GenerateArguments) -> None:
    prompt = probe.prompt()
    run = await probe.generate(prompt, max_tokens=1, temperature=1.0, logprobs=probe.alternatives(ALTERNATIVES))
    told = {entry.id: entry.logprob for each in run.logprobs() for entry in each.top}
    for drawn in await probe.draws(count, prompt, **sampling):
        if drawn >= 0:
            _note(probe, setting, told, drawn)


def _places(probe: Probe, run: Run) -> list[tuple[dict[int, float], int]]:
    """Return the log probabilities and the drawn token of each place of a stream."""
    if probe.oracle is not None:
        context = list(probe.oracle.ids(run.request.text))
        ids = run.ids()
        found: list[tuple[dict[int, float], int]] = []
        for place, token in enumerate(ids):
            found.append((dict(probe.oracle.logprobs([*context, *ids[:place]])), token))
            if token not in found[-1][0]:  # nothing is known of what follows it
                break
        return found
    return [
        ({top.id: top.logprob for top in entry.top}, token)
        for delta in run.deltas()
        if len(delta.logprobs) == len(delta.token_ids)
        for entry, token in zip(delta.logprobs, delta.token_ids, strict=True)
    ]


def _note(probe: Probe, setting: str, logprobs: dict[int, float], drawn: int) -> None:
    ranked = sorted(logprobs.items(), key=lambda each: -each[1])[:ALTERNATIVES]
    ends = set(probe.model.eos_token_ids)
    probe.observe(
        "place",
        setting=setting,
        logprobs=[round(value, 6) for _, value in ranked],
        ends=[rank for rank, (token, _) in enumerate(ranked) if token in ends],
        rank=next((rank for rank, (token, _) in enumerate(ranked) if token == drawn), len(ranked)),
        number=round(probe.random.random(), 6),
    )


def survivors(logprobs: Sequence[float], steps: Sequence[Step]) -> int | None:
    """Return how many of the tokens, most probable first, are left after some steps in order.

    None where that is not certain: at a tie, or when tokens that are not listed may be left. `logprobs` are natural
    logarithms of a beginning of the whole distribution, which has mass 1.
    """
    count, power, is_whole = len(logprobs), 1.0, True
    for name, value in steps:
        if name == "temperature":
            power /= value
            continue
        kept = _kept(name, value, logprobs[:count], power, is_whole=is_whole)
        if kept is None:
            return None
        count, is_whole = kept, False
    return None if is_whole else count


def _kept(name: str, value: float, logprobs: Sequence[float], power: float, *, is_whole: bool) -> int | None:
    if name == "top_k":
        return _top_k(int(value), logprobs, is_whole=is_whole)
    if name == "min_p":
        return _min_p(value, logprobs, power, is_whole=is_whole)
    return _top_p(value, logprobs, power, is_whole=is_whole)


def _top_k(most: int, logprobs: Sequence[float], *, is_whole: bool) -> int | None:
    if len(logprobs) <= most:
        return None if is_whole else len(logprobs)
    return most if logprobs[most - 1] - logprobs[most] > TIE else None


def _min_p(share: float, logprobs: Sequence[float], power: float, *, is_whole: bool) -> int | None:
    least = logprobs[0] + math.log(share) / power
    if any(abs(value - least) <= TIE for value in logprobs) or (is_whole and logprobs[-1] > least):
        return None
    return sum(value > least for value in logprobs)


def _top_p(mass: float, logprobs: Sequence[float], power: float, *, is_whole: bool) -> int | None:
    weights = [math.exp(value * power) for value in logprobs]
    tail = 0.0
    if is_whole:
        rest = max(0.0, 1 - math.fsum(math.exp(value) for value in logprobs))
        tail = rest * math.exp(logprobs[-1] * (power - 1))  # at most this: each of the rest is less probable
        if power != 1 and tail > MOST_TAIL * math.fsum(weights):
            return None
    total, reached = math.fsum(weights) + tail, 0.0
    for place, weight in enumerate(weights):
        before, reached = reached, reached + weight / total
        if reached >= mass:
            follower = weights[place + 1] if place + 1 < len(weights) else tail  # the tail's tokens have less than it
            is_tied = follower >= weight * math.exp(-TIE * power)  # of equal tokens either may be kept
            return place + 1 if not is_tied and min(reached - mass, mass - before) > MASS_TIE else None
    return None if is_whole else len(logprobs)


@dataclass(frozen=True, slots=True)
class Setting:
    """A sampling, as rows name it; `steps` are what it does, in order."""

    name: str
    steps: tuple[Step, ...]

    @property
    def power(self) -> float:
        """One over the temperature."""
        return 1 / next((value for name, value in self.steps if name == "temperature"), 1.0)


def judge_settings(rows: Rows, settings: Sequence[Setting], alpha: float) -> list[Judgement]:
    """Return a judgement of each setting, at a share of the level (Bonferroni)."""
    return [judge_setting(rows, setting, alpha / len(settings)) for setting in settings]


def judge_setting(rows: Rows, setting: Setting, alpha: float) -> Judgement:
    """Judge one setting.

    Under the model the place of a draw in the cumulative probabilities is uniform, whatever the text before
    (Rosenblatt, 1952); a G-test of `BINS` equal bins says whether it is.
    """
    places = [row for row in rows if row["kind"] == "place" and row["setting"] == setting.name]
    kept = [(row, survivors(row["logprobs"], setting.steps)) for row in places]
    clear = [(row, count) for row, count in kept if count is not None]
    outside = [(row, count) for row, count in clear if row["rank"] >= count]
    bound = None if outside else bound_of_no_failures(len(clear))
    figures = (
        Figure(name=f"{setting.name} n", value=len(places)),
        Figure(name=f"{setting.name} n_eff", value=len(clear)),
        Figure(name=f"{setting.name} outside", value=len(outside), low=0, high=bound),
    )
    if not outside:
        return _judge_inside(setting, clear, figures, alpha)
    row, count = outside[0]
    found = f"{len(outside)} of {len(clear)} outside, such as rank {row['rank'] + 1} where {count} are kept"
    problem = f"{setting.name}: expected every draw among the tokens kept, found {found}"
    return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))


def _judge_inside(
    setting: Setting, clear: Sequence[tuple[Row, int]], figures: tuple[Figure, ...], alpha: float
) -> Judgement:
    told = [_place(row, count, setting.power) for row, count in clear]
    bins = Counter(int(BINS * place) for place in told if place is not None)
    if not bins:
        problem = f"{setting.name}: no place at which it is clear what is kept"
        return Judgement(status=Status.INCONCLUSIVE, figures=figures, problems=(problem,))
    try:
        test = g_test(bins, dict.fromkeys(range(BINS), 1.0), alpha)
    except ValueError as error:
        return Judgement(status=Status.INCONCLUSIVE, figures=figures, problems=(f"{setting.name}: {error}",))
    figures += (
        Figure(name=f"{setting.name} p", value=test.p_value),
        Figure(name=f"{setting.name} minimum detectable w", value=test.minimum_effect),
    )
    if test.p_value >= alpha:
        return Judgement(status=Status.PASS, figures=figures)
    wanted = f"expected the model's odds among the tokens kept (p at least {alpha:.2g})"
    problem = f"{setting.name}: {wanted}, found p {test.p_value:.2g}"
    return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))


def _place(row: Row, count: int, power: float) -> float | None:
    """Return where a draw lies in the cumulative probabilities of what can be delivered, in [0, 1).

    It is spread at random over its own share; None when there is no choice.
    """
    ranks = [rank for rank in range(count) if rank not in row["ends"]]
    weights = [math.exp(row["logprobs"][rank] * power) for rank in ranks]
    if len(ranks) < 2:
        return None
    at = ranks.index(row["rank"])
    place = (math.fsum(weights[:at]) + float(row["number"]) * weights[at]) / math.fsum(weights)
    return min(place, 1 - 1e-9)


def judge_of(settings: Sequence[Setting]) -> Callable[[Rows, float], Judgement]:
    """Return the judge of a check that observes some settings."""
    return lambda rows, alpha: together(*judge_settings(rows, settings, alpha))
