"""S02: Started, deltas, one Finished, nothing after."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe


@check(
    "S02",
    title="A stream is one Started, deltas and one Finished, and nothing follows",
    clause="bellhousing.v1.Inference.Generate",
    profile="streaming",
    needs=("sampling.max_tokens",),
    finds="a message out of order in one stream of the sample",
)
async def stream_has_one_end(probe: Probe) -> None:
    """Read streams to their status, past Finished."""
    for length in (1, 2, 16) * probe.size(smoke=2, standard=10):
        run = await probe.generate(max_tokens=length)
        kinds = run.kinds
        probe.equal("first and last message", found=[*kinds[:1], *kinds[-1:]], expected=["started", "finished"])
        probe.equal("messages between that are no delta", found=[k for k in kinds[1:-1] if k != "delta"], expected=[])
        ends = [(end.index, end.finish_reason != pb.FINISH_REASON_UNSPECIFIED) for end in run.finished.sequences]
        probe.equal("sequences that ended, each with a reason", found=ends, expected=[(0, True)])
        probe.holds(run.finished.HasField("usage"), "Finished.usage: expected a value, found none")
