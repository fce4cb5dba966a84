"""U01: deltas are whole characters, and no replacement character is made on the way."""

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.forcing import dictation
from bellhousing_conformance.probe import Probe

REPLACEMENT = "\ufffd"
AT_ONCE = 4
SPLIT = ("😀😎", "世界和平", "e\u0301té où", "ทดสอบ", "👩‍👩‍👧 🇫🇷")
"""Characters of two to four bytes, which tokens often split."""


@check(
    "U01",
    title="Every delta is whole UTF-8 characters, with no U+FFFD that the decoded whole has not",
    clause="bellhousing.v1.Delta.text",
    profile="unicode",
    needs=("sampling.max_tokens", "sampling.temperature"),
    finds="one character that arrives as U+FFFD in the sample",
    seconds=240,
)
async def deltas_are_whole_characters(probe: Probe) -> None:
    """Look at free outputs drawn hot, and at dictated ones that have many characters of several tokens.

    A message whose text is no UTF-8 is refused by gRPC itself, and fails the call.
    """
    count = probe.size(smoke=6, standard=16)
    hot = probe.at_most("sampling.temperature", 1.2)
    requests = [probe.request(max_tokens=32, temperature=hot, coalescing=False) for _ in range(count)]
    for run in await probe.run_all(requests, at_once=AT_ONCE):
        await _judge(probe, run, "a free output")
    requests = [dictation(probe, text).request for text in SPLIT]
    for text, run in zip(SPLIT, await probe.run_all(requests, at_once=AT_ONCE), strict=True):
        await _judge(probe, run, f"dictated {text!r}")


async def _judge(probe: Probe, run: Run, what: str) -> None:
    text = run.text()
    made = 0
    if REPLACEMENT in text and probe.supports("detokenize") and run.ids():
        # A token may be that character itself; a cut one at the end is left out of the text.
        made = (await probe.detokenize(run.ids())).count(REPLACEMENT)
    probe.within(f"U+FFFD in the text of {what}", found=text.count(REPLACEMENT), high=made)
