"""X07: a client that dies is a client that cancels."""

from bellhousing_conformance.abandonment import abandon
from bellhousing_conformance.check import check
from bellhousing_conformance.occupancy import is_free, lasting, long_request, places, seconds_until
from bellhousing_conformance.probe import Probe

STREAMS = 4
TOKENS = 4
MOST_SECONDS = 1.5
"""Half a second more than for a cancellation: the system closes the connection of a killed process."""


@check(
    "X07",
    title="The streams of a client that is killed end as if it had cancelled them",
    clause="bellhousing.v1.Inference",
    profile="cancel",
    needs=("sampling.max_tokens",),
    finds="one place that is kept for a client whose connection is gone",
    tier="standard",
    alone=True,
    seconds=180,
)
async def a_killed_client_has_cancelled(probe: Probe) -> None:
    """Stream in another process, kill it, and ask GetLoad until the numbers are back."""
    count = min(STREAMS, await places(probe) or STREAMS)
    await probe.run(lasting(probe, max_tokens=1))  # what is beyond the declared is refused here, and told
    for _ in range(probe.size(smoke=1, standard=2)):
        before = await probe.load()
        requests = [long_request(probe) for _ in range(count)]
        left_running = await abandon(probe.calls.where, probe.calls.silence, requests, tokens=TOKENS)
        if not left_running:
            probe.left_out("every stream ended by itself before its client was killed")
            continue
        left = await seconds_until(probe, lambda load, before=before: is_free(load, before), 3 * MOST_SECONDS)  # type: ignore[misc]
        probe.within("seconds until the places of a killed client were free", found=left, high=MOST_SECONDS)
