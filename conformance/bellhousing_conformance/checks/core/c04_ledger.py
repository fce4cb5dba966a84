"""C04: usage is what was delivered."""

from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

AT_ONCE = 8


@check(
    "C04",
    title="Usage equals the tokens of the prompt and the tokens delivered",
    clause="bellhousing.v1.Usage",
    profile="core",
    needs=("sampling.max_tokens",),
    finds="one token too many or too few in one request of the sample",
)
async def usage_is_what_was_delivered(probe: Probe) -> None:
    """Compare usage with the deltas; and with Tokenize, where the target has it."""
    lengths = [probe.random.randint(1, 32) for _ in range(probe.size(smoke=8, standard=64))]
    requests = [probe.request(max_tokens=length) for length in lengths]
    runs = await probe.run_all(requests, at_once=AT_ONCE)
    for request, run in zip(requests, runs, strict=True):
        usage, text = run.finished.usage, request.text
        probe.equal("usage.completion_tokens", found=usage.completion_tokens, expected=run.tokens())
        probe.equal("completion_tokens of the sequence", found=run.end().completion_tokens, expected=run.tokens())
        if probe.supports("token_ids"):
            probe.equal("ids of the deltas", found=len(run.ids()), expected=run.tokens())
        if run.started.HasField("prompt_tokens"):
            probe.equal("usage.prompt_tokens", found=usage.prompt_tokens, expected=run.started.prompt_tokens)
        if probe.supports("tokenize"):
            counted = len(await probe.tokenize(text))
            probe.equal("usage.prompt_tokens against Tokenize", found=usage.prompt_tokens, expected=counted)
