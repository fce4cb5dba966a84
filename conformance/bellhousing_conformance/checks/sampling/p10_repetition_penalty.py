"""P10: repetition_penalty divides positive logits and multiplies negative ones."""

from dataclasses import dataclass

from bellhousing_conformance.check import check
from bellhousing_conformance.checks.sampling.p06_penalties import COARSE, EXACT
from bellhousing_conformance.near_tie import TOLERANCES
from bellhousing_conformance.probe import Probe

ANCHOR, OTHERS = 0.4, (0.6, 0.8)
"""Penalties. Below 1 they raise a token, so that it stays above all others but the one that it is measured against."""

LEAST_SHIFT = 0.2
"""Nats. A smaller shift comes from a logit near 0, and tells nothing of a formula."""

ALTERNATIVES = 20
MASK = -100.0
MOST_BIAS = 100.0
STEPS = 15
"""Halvings of the range of a bias, down to 0.003 nat."""

PROMPTS = (
    "red blue green red blue green yellow red",
    "one two three one two four one two",
    "the cat and the dog and the bird and the",
    "a b c d a b c e a b",
)


@dataclass(frozen=True, slots=True)
class Scales:
    """A token that the prompt has, one that it has not, and by how many nats the first is ahead; the rest is masked."""

    prompt: str
    seen: int
    unseen: int
    ahead: float
    masked: tuple[int, ...]


@check(
    "P10",
    title="repetition_penalty divides the positive logits of tokens already seen, and multiplies their negative ones",
    clause="bellhousing.v1.Sampling.repetition_penalty",
    profile="sampling",
    tier="standard",
    needs=(
        *("sampling.repetition_penalty", "sampling.logit_bias", "sampling.temperature", "sampling.max_tokens"),
        *("logprobs.top", "token_ids", "tokenize"),
    ),
    finds=f"a shift {EXACT:g} nat off ({COARSE:g} with weights of 16 bits or fewer); a prompt that is left out",
    seconds=240,
)
async def repetition_penalty_follows_its_formula(probe: Probe) -> None:
    """Weigh a token of the prompt against a biased one that is not in it: the bias at which they turn tells the shift.

    Log probabilities tell logits but for a constant, so the shift of one penalty gives the logit, and those of the
    others must follow from it: from a positive or from a negative one. A bias on the token itself would not do, since
    the contract does not say whether it comes before the penalty. Tokens that were generated are left out for that.
    """
    tolerance = EXACT if TOLERANCES.get(probe.model.precision, 1.0) < COARSE or probe.oracle else COARSE
    is_raised = False
    for prompt in PROMPTS[: probe.size(smoke=2, standard=len(PROMPTS))]:
        scales = await _scales(probe, prompt)
        if scales is None:
            continue
        shift = await _shift(probe, scales)
        probe.observe("shift", prompt=prompt, token=scales.seen, nats=shift)
        if abs(shift) >= LEAST_SHIFT:
            is_raised = True
            await _follow(probe, scales, shift, tolerance)
    told = f"repetition_penalty {ANCHOR:g} shifts a token of the prompt by {LEAST_SHIFT:g} nat in one of the prompts"
    probe.equal(told, found=is_raised, expected=True)


async def _scales(probe: Probe, prompt: str) -> Scales | None:
    """Return the least likely told token that the prompt has, against the likeliest that it has not."""
    run = await probe.generate(prompt, max_tokens=1, temperature=1.0, logprobs=probe.alternatives(ALTERNATIVES))
    told = {top.id: top.logprob for each in run.logprobs() for top in each.top}
    prompt_ids, ends = set(await probe.tokenize(prompt)), set(probe.model.eos_token_ids)
    seen = [token for token in told if token in prompt_ids - ends]
    unseen = [token for token in told if token not in prompt_ids | ends]
    if not seen or not unseen:
        return None
    low, high = min(seen, key=lambda token: told[token]), max(unseen, key=lambda token: told[token])
    masked = tuple(token for token in told if token not in (low, high))
    return Scales(prompt, low, high, told[low] - told[high], masked)


async def _shift(probe: Probe, scales: Scales) -> float:
    """Return by how much the penalty `ANCHOR` moves the token, in nats, by halving."""
    low, high = -MOST_BIAS, MOST_BIAS
    for _ in range(STEPS):
        middle = (low + high) / 2
        if await _is_taken(probe, scales, ANCHOR, middle):
            low = middle
        else:
            high = middle
    return (low + high) / 2 - scales.ahead


async def _follow(probe: Probe, scales: Scales, shift: float, tolerance: float) -> None:
    """Tell whether the shifts of the other penalties follow from the logit that one gave, of either sign."""
    signs = (shift / _positive(ANCHOR), _positive), (shift / _negative(ANCHOR), _negative)
    followed = []
    for logit, formula in signs:
        if (logit > 0) != (formula is _positive):
            continue
        turned = True
        for penalty in OTHERS:
            edge = scales.ahead + logit * formula(penalty)
            is_kept = await _is_taken(probe, scales, penalty, edge - tolerance)
            turned = turned and is_kept and not await _is_taken(probe, scales, penalty, edge + tolerance)
        followed.append(turned)
    told = (
        f"repetition_penalty {ANCHOR:g} moves token {scales.seen} of {scales.prompt!r} by {shift:.3f} nat: whether "
        f"{' and '.join(f'{each:g}' for each in OTHERS)} move it as a logit does that this gives"
    )
    probe.equal(told, found=any(followed), expected=True)


def _positive(penalty: float) -> float:
    """Return the shift of a positive logit, as a share of it."""
    return 1 / penalty - 1


def _negative(penalty: float) -> float:
    """Return the shift of a negative logit, as a share of it."""
    return penalty - 1


async def _is_taken(probe: Probe, scales: Scales, penalty: float, bias: float) -> bool:
    """Tell whether the token is taken when the other one is biased."""
    run = await probe.generate(
        scales.prompt,
        max_tokens=1,
        temperature=0.0,
        repetition_penalty=penalty,
        logit_bias={**dict.fromkeys(scales.masked, MASK), scales.unseen: min(MOST_BIAS, max(-MOST_BIAS, bias))},
    )
    return run.ids() == [scales.seen]
