"""X01: a cancelled request frees its place."""

from bellhousing_conformance.check import check
from bellhousing_conformance.occupancy import PROMPT_ROOM, inter_token_seconds, seconds_until
from bellhousing_conformance.probe import Probe

MOST_SECONDS = 1.0
MARGIN = 2
"""What is left of a stream must take this many times the bound, or its end would look like a cancellation."""


@check(
    "X01",
    title="After a cancelled call the load is what it was before, within 1 s + 2 inter-token latencies",
    clause="bellhousing.v1.Inference",
    profile="cancel",
    needs=("sampling.max_tokens", "sampling.ignore_eos"),
    finds="a place that is kept after one cancellation of the sample",
    alone=True,
    seconds=180,
)
async def cancelled_request_frees_its_place(probe: Probe) -> None:
    """Cancel after the fourth delta, then ask GetLoad until the numbers are back."""
    for _ in range(probe.size(smoke=2, standard=10, full=30)):
        before = await probe.load()
        length = probe.model.context_length - PROMPT_ROOM
        request = probe.request(max_tokens=length, ignore_eos=True)
        run = await probe.run(request, until=lambda run: len(run.deltas()) >= 4)
        bound = MOST_SECONDS + 2 * inter_token_seconds(run)
        if (length - run.tokens()) * inter_token_seconds(run) < MARGIN * bound:
            probe.observe("too_fast", tokens=run.tokens(), inter_token_seconds=inter_token_seconds(run))
            continue
        seconds = await seconds_until(probe, lambda load, most=before.running: load.running <= most, 3 * bound)  # type: ignore[misc]
        probe.within("seconds until the place was free", found=seconds, high=bound)
