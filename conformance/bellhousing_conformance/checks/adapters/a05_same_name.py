"""A05: a name that comes back with other weights has those."""

from bellhousing_conformance.adapters import load, new_name, register, sources, unload
from bellhousing_conformance.agreement import compare, greedy, judge, tolerance
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe


@check(
    "A05",
    title="An adapter that is forgotten and registered again from another source has the new weights",
    clause="bellhousing.v1.Admin.UnloadAdapter",
    profile="adapters",
    needs=("adapter", "dynamic_adapters", "sampling.max_tokens", "sampling.temperature"),
    judge=judge,
    statistic="equality, or a near tie, with the weights under another name; zero failures in n",
    finds="weights that are kept under the name",
    tier="standard",
    alone=True,
    seconds=120,
)
async def a_name_has_its_newest_weights(probe: Probe) -> None:
    """Serve each source under a name of its own, then both under one name, one after the other."""
    name, runs, digests = new_name(probe), [], []
    request = greedy(probe, max_tokens=32)
    for source in sources(probe, 2):
        own = new_name(probe)
        outputs = []
        for used in (own, name):
            digests.append((await register(probe, used, source)).digest)
            await load(probe, used)
            request.adapter = used
            outputs.append(await probe.run(request))
            await unload(probe, used, forget=True)
        compare(probe, "weights under a new and under a used name", *outputs, allowed=tolerance(probe))
        runs.append(outputs[1])
    probe.holds(runs[0].text() != runs[1].text(), "two adapters under one name: expected different outputs")
    probe.equal("different digests", found=len(set(digests)), expected=2)
