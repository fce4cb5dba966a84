"""P06: logit_bias and penalties shift logits by their formulas."""

from dataclasses import dataclass

from bellhousing.v1 import discovery_pb2
from bellhousing_conformance.check import check
from bellhousing_conformance.near_tie import TOLERANCES
from bellhousing_conformance.probe import Probe

EXACT, COARSE = 0.01, 0.05
"""Tolerances in nats. With 16 bits or fewer a token's logit differs by a few hundredths between the computation of a
prompt and that of a single step."""

BIAS = 100.0
MARGIN = 0.2
"""A token that must be taken before the one in question is ahead by this, in nats."""

CANDIDATES = 10
PENALTY = 1.0
GREATEST = 2.0
PROMPTS = ("la la la la la la", "no no no no no no no", "ha ha ha ha ha ha", "tick tick tick tick tick")


@dataclass(frozen=True, slots=True)
class Repeated:
    """A token, and by how many nats it is ahead of all others at each place of a text that repeats it."""

    prompt: str
    token: int
    margins: tuple[float, ...]


@check(
    "P06",
    title="logit_bias, presence_penalty and frequency_penalty shift logits by their formulas",
    clause="bellhousing.v1.Sampling.presence_penalty",
    profile="sampling",
    tier="standard",
    needs=(
        *("sampling.logit_bias", "sampling.presence_penalty", "sampling.frequency_penalty"),
        *("sampling.temperature", "sampling.max_tokens", "logprobs.top", "token_ids"),
    ),
    finds=f"a shift {EXACT:g} nat off ({COARSE:g} with weights of 16 bits or fewer); prompt tokens taken for output",
    seconds=240,
)
async def shifts_follow_the_formulas(probe: Probe) -> None:
    """Find a shift by the choice that it changes: a greedy token turns where the formula says, and not before.

    That works whether log probabilities are told before or after the shifts. The repetition penalty is left out: it
    works on absolute logits, which log probabilities do not tell.
    """
    tolerance = EXACT if TOLERANCES.get(probe.model.precision, 1.0) < COARSE or probe.oracle else COARSE
    for prompt in PROMPTS[: probe.size(smoke=2, standard=len(PROMPTS))]:
        if probe.supports("tokenize"):
            await _prompt_is_not_output(probe, prompt)
        for repeated in await _repeated(probe, prompt):
            await _bias(probe, repeated, tolerance)
            if await _presence(probe, repeated, tolerance) and await _frequency(probe, repeated, tolerance):
                break


async def _repeated(probe: Probe, prompt: str) -> list[Repeated]:
    """Return the likeliest tokens after a prompt, each with its margins over three repetitions of it."""
    run = await probe.generate(prompt, max_tokens=1, temperature=1.0, logprobs=probe.alternatives(CANDIDATES))
    entries = [top.id for each in run.logprobs() for top in each.top]
    ends = set(probe.model.eos_token_ids)
    found = [await _measured(probe, prompt, token) for token in entries if token not in ends]
    return [each for each in found if len(each.margins) == 3]


async def _measured(probe: Probe, prompt: str, token: int) -> Repeated:
    run = await probe.generate(
        prompt, max_tokens=3, temperature=1.0, logprobs=probe.alternatives(2), logit_bias={token: BIAS}
    )
    is_processed = probe.model.capabilities.logprobs_mode == discovery_pb2.LOGPROBS_MODE_PROCESSED
    margins = []
    for delta in run.deltas():
        for entry in delta.logprobs:
            others = [top.logprob for top in entry.top if top.id != token]
            if entry.id == token and others:
                margins.append(entry.logprob - max(others) - (BIAS if is_processed else 0.0))
    return Repeated(prompt, token, tuple(margins))


async def _bias(probe: Probe, repeated: Repeated, tolerance: float) -> None:
    """Turn the first token by a bias alone."""
    for side in (-tolerance, tolerance):
        bias = side - repeated.margins[0]
        run = await probe.generate(repeated.prompt, max_tokens=1, temperature=0.0, logit_bias={repeated.token: bias})
        what = f"logit_bias {bias:.3f} of a token that is {-repeated.margins[0]:.3f} nats behind: whether it is taken"
        probe.equal(what, found=run.ids() == [repeated.token], expected=side > 0)


async def _presence(probe: Probe, repeated: Repeated, tolerance: float) -> bool:
    """Turn the second token by the penalty of one that is there once; tell whether this token allows it."""
    first, second, _ = repeated.margins
    bias = PENALTY - second
    if first + bias < MARGIN:
        return False
    for side in (-tolerance, tolerance):
        run = await probe.generate(
            repeated.prompt,
            max_tokens=2,
            temperature=0.0,
            logit_bias={repeated.token: bias},
            presence_penalty=PENALTY - side,
        )
        _turned(probe, f"presence_penalty {PENALTY - side:.3f}", run.ids(), repeated.token, 2, side)
    return True


async def _frequency(probe: Probe, repeated: Repeated, tolerance: float) -> bool:
    """Turn the third token by the penalty of one that is there twice; tell whether this token allows it."""
    first, second, third = repeated.margins
    bias = PENALTY - third
    if first + bias < MARGIN or second + bias - PENALTY / 2 < MARGIN:
        return False
    for side in (-tolerance, tolerance):
        penalty = (PENALTY - side) / 2
        run = await probe.generate(
            repeated.prompt,
            max_tokens=3,
            temperature=0.0,
            logit_bias={repeated.token: bias},
            frequency_penalty=penalty,
        )
        _turned(probe, f"frequency_penalty {penalty:.3f}", run.ids(), repeated.token, 3, side)
    return True


async def _prompt_is_not_output(probe: Probe, prompt: str) -> None:
    """Ask for both penalties of a token that the prompt repeats and that was not generated: they must not count it."""
    token = (await probe.tokenize(prompt))[-1]
    measured = await _measured(probe, prompt, token)
    if not measured.margins:
        return
    run = await probe.generate(
        prompt,
        max_tokens=1,
        temperature=0.0,
        logit_bias={token: MARGIN - measured.margins[0]},
        presence_penalty=GREATEST,
        frequency_penalty=GREATEST,
    )
    told = (
        f"presence_penalty and frequency_penalty {GREATEST:g} on a token that {prompt!r} has and that was not generated"
    )
    probe.equal(f"{told}, {MARGIN:g} nat ahead: whether it is taken", found=run.ids() == [token], expected=True)


def _turned(probe: Probe, what: str, ids: list[int], token: int, place: int, side: float) -> None:
    kept = [each == token for each in ids]
    told = f"{what} on a token that is {PENALTY:g} nat ahead: whether it is taken {place} times"
    probe.equal(told, found=kept[:place] == [True] * place, expected=side > 0)
