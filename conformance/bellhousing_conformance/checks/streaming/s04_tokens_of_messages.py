"""S04: every delta brings tokens, and they add up."""

from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

AT_ONCE = 4


@check(
    "S04",
    title="Every delta counts at least one token, and the counts add up to the sequence's and to usage",
    clause="bellhousing.v1.Delta.token_count",
    profile="streaming",
    needs=("sampling.max_tokens",),
    finds="one delta without tokens, or one token counted twice or not at all",
)
async def deltas_count_their_tokens(probe: Probe) -> None:
    """Add up the counts of each sequence; also of several sequences of one request, where they are declared."""
    lengths = (1, 3, 24) * probe.size(smoke=2, standard=4)
    requests = [probe.request(max_tokens=length) for length in lengths]
    if probe.supports("sampling.n"):
        requests += [probe.request(max_tokens=8, n=int(probe.at_most("sampling.n", 3))) for _ in range(2)]
    for run in await probe.run_all(requests, at_once=AT_ONCE):
        for end in run.finished.sequences:
            counts = [delta.token_count for delta in run.deltas(end.index)]
            probe.equal("deltas that count no token", found=[c for c in counts if c < 1], expected=[])
            probe.equal("tokens of a sequence", found=end.completion_tokens, expected=sum(counts))
            if probe.supports("token_ids"):
                ids = [len(delta.token_ids) for delta in run.deltas(end.index)]
                probe.equal("ids of each delta", found=ids, expected=counts)
        total = sum(end.completion_tokens for end in run.finished.sequences)
        probe.equal("usage over all sequences", found=run.finished.usage.completion_tokens, expected=total)
