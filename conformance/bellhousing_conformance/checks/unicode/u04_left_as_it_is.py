"""U04: text is taken as it is: NUL, composed and decomposed characters; what is no text is refused."""

from typing import Any

import grpc.aio

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.check import check
from bellhousing_conformance.forcing import dictation
from bellhousing_conformance.probe import Probe

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"
BEFORE, NUL = "one two", "one two\x00three four"
COMPLETE = "/bellhousing.v1.Inference/Complete"
ENDS = ("MAX_TOKENS", "EOS")
SURROGATE, PLACEHOLDER = b"\xed\xa0\x80", b"~~~"
"""A lone surrogate in what would be UTF-8 if it were allowed there, and what it is put in the place of."""


@check(
    "U04",
    title="NUL and both normal forms pass unchanged; a lone surrogate is rejected",
    clause="bellhousing.v1.GenerateRequest.text",
    profile="unicode",
    needs=("sampling.max_tokens",),
    finds="a text cut at NUL or normalised on the way in or out; ill-formed UTF-8 taken",
)
async def text_is_left_as_it_is(probe: Probe) -> None:
    """Compare Tokenize and Generate on both sides of a NUL, dictate both normal forms, send a surrogate's bytes."""
    for text in (COMPOSED, DECOMPOSED):
        asked = dictation(probe, text)
        run = await probe.run(asked.request)
        if asked.is_exact:
            probe.equal(f"text dictated as {text!r}", found=ascii(run.text()), expected=ascii(text))
    if probe.supports("tokenize"):
        await _nul(probe)
    await _surrogate(probe)


async def _nul(probe: Probe) -> None:
    short, long = await probe.tokenize(BEFORE), await probe.tokenize(NUL)
    probe.within(f"tokens of {NUL!r}", found=len(long), low=len(short) + 2)
    run = await probe.generate(NUL, max_tokens=1)
    probe.equal(f"prompt tokens of {NUL!r}", found=run.finished.usage.prompt_tokens, expected=len(long))
    if probe.supports("detokenize"):
        for text in (NUL, COMPOSED, DECOMPOSED):
            ids = await probe.tokenize(text, add_special=False)
            probe.equal(
                f"Detokenize of Tokenize of {text!r}", found=ascii(await probe.detokenize(ids)), expected=ascii(text)
            )


async def _surrogate(probe: Probe) -> None:
    """Put the surrogate's bytes into a request on the wire: no client library would make such a message."""
    request = probe.request(f"a{PLACEHOLDER.decode()}b", max_tokens=1)
    raw = request.SerializeToString().replace(PLACEHOLDER, SURROGATE)
    call: Any = probe.calls.channel.unary_unary(COMPLETE, response_deserializer=pb.CompleteResponse.FromString)
    try:
        await call(raw, metadata=probe.calls.metadata, timeout=probe.calls.silence)
        code = "OK"
    except grpc.aio.AioRpcError as error:
        code = error.code().name
    refused = code not in ("OK", "UNAVAILABLE", "DEADLINE_EXCEEDED")
    probe.holds(refused, f"a prompt with a lone surrogate: expected it to be rejected, found {code}")
    after = (await probe.generate(max_tokens=1)).reason()
    probe.holds(after in ENDS, f"a request afterwards: expected it to end with one of {ENDS}, found {after}")
