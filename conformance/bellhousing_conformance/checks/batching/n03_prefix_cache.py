"""N03: the prefix cache changes nothing but the time."""

from bellhousing_conformance.agreement import compare, greedy, judge, tolerance
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe


@check(
    "N03",
    title="A prompt found in the prefix cache gives what it gave at first, and the hit is told",
    clause="bellhousing.v1.Capabilities.prefix_cache",
    profile="batching",
    needs=("prefix_cache", "sampling.max_tokens", "sampling.temperature"),
    judge=judge,
    statistic="equality, or a near tie; zero failures in n; 95 % bound 3/n",
    finds="one prompt of the sample that a hit changes, or a cache that is declared and finds nothing",
    tier="standard",
    seconds=180,
)
async def the_prefix_cache_changes_nothing(probe: Probe) -> None:
    """Generate from a new prompt, from another that goes on differently, and from the first again."""
    for _ in range(probe.size(smoke=2, standard=6, full=50)):
        shared = probe.long_prompt()
        request = greedy(probe, shared)
        cold = await probe.run(request)
        await probe.run(greedy(probe, f"{shared} and then"))
        cached = await probe.run(request)
        compare(probe, "a prompt before and after it was cached", cold, cached, allowed=tolerance(probe))
        usage = [run.finished.usage for run in (cold, cached)]
        if all(each.HasField("cached_tokens") for each in usage):
            probe.within("cached tokens of a prompt seen before", found=usage[1].cached_tokens, low=1)
            probe.within(
                "cached tokens of a new prompt", found=usage[0].cached_tokens, high=usage[0].prompt_tokens // 2
            )
