"""ST6: the end token ends a sequence and is not delivered; `ignore_eos` goes on past it."""

from typing import Unpack

from bellhousing.client.arguments import GenerateArguments
from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

BIAS = 100.0
"""Makes the end token certain."""

NUDGE = 3.0
"""Makes it come soon."""

LENGTH = 24
AT_ONCE = 4


@check(
    "ST6",
    title="The end token ends a sequence, is neither delivered nor counted, and ignore_eos goes on past it",
    clause="bellhousing.v1.Delta.token_ids",
    profile="stop",
    needs=("sampling.max_tokens",),
    finds="one end token delivered or counted, one sequence ended at it despite ignore_eos",
)
async def end_token_ends(probe: Probe) -> None:
    """Bias towards the end token where the target can; look at endings as they come as well."""
    ends = list(probe.model.eos_token_ids)
    can_bias = bool(ends) and probe.allows("sampling.logit_bias", BIAS, entries=len(ends))
    count = probe.size(smoke=4, standard=12)
    for run in await _runs(probe, count):
        _judge(probe, ends, run)
    if can_bias:
        for run in await _runs(probe, count, logit_bias=dict.fromkeys(ends, NUDGE)):
            _judge(probe, ends, run)
        for run in await _runs(probe, count, logit_bias=dict.fromkeys(ends, BIAS)):
            found = [run.reason(), run.tokens(), run.text()]
            probe.equal("reason, tokens and text when the end token is certain", found=found, expected=["EOS", 0, ""])
    if probe.supports("sampling.ignore_eos"):
        bias = dict.fromkeys(ends, BIAS) if can_bias else {}
        for run in await _runs(probe, count, logit_bias=bias, ignore_eos=True):
            found = [run.reason(), run.tokens()]
            probe.equal("reason and tokens under ignore_eos", found=found, expected=["MAX_TOKENS", LENGTH])


async def _runs(probe: Probe, count: int, **arguments: Unpack[GenerateArguments]) -> list[Run]:
    requests = [probe.request(max_tokens=LENGTH, **arguments) for _ in range(count)]  # type: ignore[misc] # the caller does not give max_tokens
    return await probe.run_all(requests, at_once=AT_ONCE)


def _judge(probe: Probe, ends: list[int], run: Run) -> None:
    delivered = [token for token in run.ids() if token in ends]
    probe.equal("end tokens delivered", found=delivered, expected=[])
    is_cut = run.tokens() == LENGTH
    allowed = ["EOS", "MAX_TOKENS"] if is_cut else ["EOS"]
    what = f"finish reason after {run.tokens()} of {LENGTH} tokens: expected {' or '.join(allowed)}, found"
    probe.holds(run.reason() in allowed, f"{what} {run.reason()}")
    probe.equal("completion tokens of the sequence", found=run.end().completion_tokens, expected=run.tokens())
