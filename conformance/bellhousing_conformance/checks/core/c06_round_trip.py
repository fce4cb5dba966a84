"""C06: tokens give back the text they were made from."""

from functools import partial

from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.texts import text_of

AT_ONCE = 8


@check(
    "C06",
    title="Detokenize gives back the text that Tokenize was given, byte for byte",
    clause="bellhousing.v1.Inference.Detokenize",
    profile="core",
    needs=("tokenize", "detokenize"),
    finds="a text in 70 that changes, at standard size",
)
async def text_comes_back(probe: Probe) -> None:
    """Send texts of many scripts there and back.

    All are in Unicode's composed form (NFC), which some tokenizers normalise to. The pieces must be the text's bytes,
    but for the space that some tokenizers put in front.
    """
    texts = [text_of(probe.random) for _ in range(probe.size(smoke=40, standard=200))]
    answers = await probe.each([partial(_there_and_back, probe, text) for text in texts], at_once=AT_ONCE)
    for text, (found, pieces) in zip(texts, answers, strict=True):
        probe.equal("text that came back", found=found, expected=text)
        told = pieces.removeprefix(b" ").decode(errors="backslashreplace")
        probe.equal("bytes of the pieces of a text", found=told, expected=text)


async def _there_and_back(probe: Probe, text: str) -> tuple[str, bytes]:
    """Return the text of a text's tokens, and the bytes of its pieces."""
    answer = await probe.tokenized(text, add_special=False, with_pieces=True)
    return await probe.detokenize(answer.token_ids), b"".join(answer.pieces)
