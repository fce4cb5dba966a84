"""C08: a prompt that does not fit is refused, and one that fits is taken whole."""

import grpc

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

ROOM = 4
"""Tokens that the nearly full prompt leaves for output."""

FITTING = 300
TOO_LONG = 16


@check(
    "C08",
    title="A prompt longer than the context is OUT_OF_RANGE, never cut; output ends at the context with its own reason",
    clause="bellhousing.v1.Model.context_length",
    profile="core",
    needs=("sampling.max_tokens",),
    finds="a prompt that is cut silently, by one token or more",
    seconds=240,
)
async def overlong_prompt_is_refused(probe: Probe) -> None:
    """Send a prompt that is too long, as ids where they are declared and as text; and one that fits.

    At full size another one nearly fills the context, and output must end where the context does.
    """
    length = probe.model.context_length + TOO_LONG
    word = "a "
    requests = {"text": probe.request(word * length, max_tokens=1)} if probe.supports("text") else {}
    if probe.supports("token_ids", "tokenize"):
        unit = (await probe.tokenize(word * 2, add_special=False))[-1]
        requests["ids"] = probe.request([unit] * length, max_tokens=1)
        await _taken_whole(probe, unit)
        if probe.tier == "full":  # prefill of a whole context takes minutes on a small machine
            await _nearly_full(probe, unit)
    for form, request in requests.items():
        run = await probe.calls.stream(request)
        code = run.status
        prompt = run.finished.usage.prompt_tokens
        probe.equal(
            f"status of a {form} prompt of {length} tokens or more",
            found=code,
            expected=grpc.StatusCode.OUT_OF_RANGE.name,
            prompt_tokens=prompt,
        )


async def _taken_whole(probe: Probe, unit: int) -> None:
    ids = [unit] * min(FITTING, probe.model.context_length - ROOM)
    run = await probe.generate(ids, max_tokens=1)
    found = run.finished.usage.prompt_tokens
    probe.equal(f"prompt tokens of a prompt of {len(ids)} that fits", found=found, expected=len(ids))


async def _nearly_full(probe: Probe, unit: int) -> None:
    ids = [unit] * (probe.model.context_length - ROOM)
    run = await probe.generate(ids, max_tokens=ROOM * 16)
    usage = run.finished.usage
    probe.equal("prompt tokens of a prompt that nearly fills the context", found=usage.prompt_tokens, expected=len(ids))
    probe.within("output that the context has room for", found=usage.completion_tokens, high=ROOM)
    if run.end().finish_reason != pb.FINISH_REASON_EOS:
        probe.equal("finish reason at the end of the context", found=run.reason(), expected="CONTEXT_LENGTH")
