"""N02: the order of a batch does not matter."""

from bellhousing_conformance.agreement import compare_all, greedy, judge
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

SIZE = 8


@check(
    "N02",
    title="The requests of a batch give the same in any order",
    clause="bellhousing.v1.Determinism",
    profile="batching",
    needs=("sampling.max_tokens", "sampling.temperature"),
    judge=judge,
    statistic="equality, or a near tie; zero failures in n; 95 % bound 3/n",
    finds="one request of the sample whose output depends on its place",
    tier="standard",
    seconds=180,
)
async def the_order_of_a_batch_does_not_matter(probe: Probe) -> None:
    """Send a batch, and the same batch in another order."""
    for _ in range(probe.size(smoke=1, standard=3, full=25)):
        requests = [greedy(probe) for _ in range(SIZE)]
        order = probe.random.sample(range(SIZE), k=SIZE)
        first = await probe.run_all(requests, at_once=SIZE)
        second = await probe.run_all([requests[place] for place in order], at_once=SIZE)
        compare_all(probe, "a request in two orders of a batch", [first[place] for place in order], second)
