"""S06: delivered text only grows, and never runs ahead of its tokens."""

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe


@check(
    "S06",
    title="Delivered text only grows: after every delta it is how the text of the ids delivered so far begins",
    clause="bellhousing.v1.Delta.text",
    profile="streaming",
    tier="standard",
    needs=("token_ids", "tokenize", "detokenize", "sampling.max_tokens"),
    finds="one delta that repeats, takes back or rewrites text, in the sample",
)
async def text_only_grows(probe: Probe) -> None:
    """Decode the ids so far after every delta. The last id of the prompt goes first: some pieces depend on it."""
    for _ in range(probe.size(smoke=1, standard=6)):
        text = probe.prompt()
        before = (await probe.tokenize(text))[-1:]
        run = await probe.generate(text, max_tokens=24)
        await _compare(probe, run, before)


async def _compare(probe: Probe, run: Run, before: list[int]) -> None:
    text, ids = "", list(before)
    skipped = len(await probe.detokenize(before))
    for delta in run.deltas():
        text += delta.text
        ids += delta.token_ids
        decoded = (await probe.detokenize(ids))[skipped:]
        probe.holds(
            decoded.startswith(text),
            f"expected the text so far to begin {decoded!r}, found {text!r}",
            ids=ids[1:],
        )
