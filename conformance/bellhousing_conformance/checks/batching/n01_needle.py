"""N01: an output does not depend on the batch it is made in."""

from bellhousing_conformance.agreement import compare, greedy, judge, tolerance
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

BATCHES = (2, 4, 8, 16, 32)


@check(
    "N01",
    title="A request in batches of 2 to 32 gives what it gives alone: exactly where claimed, else to a near tie",
    clause="bellhousing.v1.Determinism",
    profile="batching",
    needs=("sampling.max_tokens", "sampling.temperature"),
    judge=judge,
    statistic="equality, or a near tie; zero failures in n; 95 % bound 3/n (1.5 % at 200)",
    finds="one request in the sample that its batch changes",
    tier="standard",
    seconds=240,
)
async def a_batch_does_not_change_a_request(probe: Probe) -> None:
    """Run a needle alone, then in batches of others; batches go on until the sample is large enough."""
    count, seen = probe.size(smoke=3, standard=10, full=200), 0
    while seen < count:
        size = BATCHES[seen % len(BATCHES)]
        needle = greedy(probe)
        alone = await probe.run(needle)
        others = [greedy(probe) for _ in range(size - 1)]
        place = probe.random.randrange(1, size)
        runs = await probe.run_all([*others[:place], needle, *others[place:]], at_once=size)
        compare(probe, f"a request alone and in a batch of {size}", alone, runs[place], allowed=tolerance(probe))
        seen += 1
