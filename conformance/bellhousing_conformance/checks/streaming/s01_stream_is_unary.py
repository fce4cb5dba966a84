"""S01: the stream and the unary form say the same."""

from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe


@check(
    "S01",
    title="The concatenated stream equals the unary answer, in text and in ids",
    clause="bellhousing.v1.Inference.Complete",
    profile="streaming",
    needs=("sampling.max_tokens", "sampling.temperature", "determinism"),
    finds="a message that is lost, doubled or changed on the way",
)
async def stream_equals_unary(probe: Probe) -> None:
    """Ask greedily for both forms of one request, with the prompt in the prefix cache."""
    for _ in range(probe.size(smoke=2, standard=16)):
        request = probe.request(max_tokens=24, temperature=0.0)
        await probe.fill_cache(request)
        whole = (await probe.complete(request)).outputs[0]
        run = await probe.run(request)
        probe.equal("text of the stream", found=run.text(), expected=whole.text)
        probe.equal("ids of the stream", found=run.ids(), expected=list(whole.token_ids))
        probe.equal("tokens of the stream", found=run.tokens(), expected=whole.token_count)
