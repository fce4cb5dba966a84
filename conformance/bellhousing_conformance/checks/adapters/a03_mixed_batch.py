"""A03: a batch over several adapters is what each request is alone."""

from bellhousing_conformance.adapters import load, registered, sources
from bellhousing_conformance.agreement import compare_all, greedy, judge
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe


@check(
    "A03",
    title="Requests to the base model and two adapters, in one batch, give what each gives alone",
    clause="bellhousing.v1.GenerateRequest.adapter",
    profile="adapters",
    needs=("adapter", "dynamic_adapters", "sampling.max_tokens", "sampling.temperature"),
    judge=judge,
    statistic="equality, or a near tie; zero failures in n; 95 % bound 3/n",
    finds="one request that is served with another's adapter",
    tier="standard",
    alone=True,
    seconds=180,
)
async def a_mixed_batch_is_the_solo_runs(probe: Probe) -> None:
    """Run requests one by one, then all at once."""
    async with registered(probe, *sources(probe, 2)) as names:
        for name in names:
            await load(probe, name)
        each = probe.size(smoke=2, standard=4)
        requests = [greedy(probe, adapter=name) for _ in range(each) for name in ("", *names)]
        solo = await probe.run_all(requests, at_once=1)
        mixed = await probe.run_all(requests, at_once=len(requests))
        compare_all(probe, "a request alone and in a mixed batch", solo, mixed)
        texts = [await probe.run(greedy(probe, "Once upon a time", adapter=name)) for name in ("", *names)]
        probe.equal("different outputs of one prompt", found=len({run.text() for run in texts}), expected=len(texts))
