"""A04: what one adapter computed of a prompt is not used for another."""

from bellhousing_conformance.adapters import load, registered, sources
from bellhousing_conformance.agreement import compare, greedy, judge, tolerance
from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

WORDS = 60


@check(
    "A04",
    title="One prompt over adapter A, B, the base model and A again: each gives what it gave first",
    clause="bellhousing.v1.GenerateRequest.adapter",
    profile="adapters",
    needs=("adapter", "dynamic_adapters", "sampling.max_tokens", "sampling.temperature"),
    judge=judge,
    statistic="equality, or a near tie; zero failures in n; 95 % bound 3/n",
    finds="a prefix cache that does not tell adapters apart",
    tier="standard",
    alone=True,
    seconds=180,
)
async def a_prefix_belongs_to_its_adapter(probe: Probe) -> None:
    """Go round the adapters with one long prompt, in each order in turn, and compare with the first time."""
    async with registered(probe, *sources(probe, 2)) as names:
        for name in names:
            await load(probe, name)
        orders = [(*names, "", names[0]), (names[1], "", *names), ("", *names, "")]
        for number in range(probe.size(smoke=2, standard=3)):
            words = " ".join(probe.random.choice(("sea", "road", "wind")) for _ in range(WORDS))
            prompt = f"{words}. {probe.prompt()}"  # whose end leaves open what comes: words would go on as they are
            await _round(probe, prompt, orders[number % len(orders)])


async def _round(probe: Probe, prompt: str, order: tuple[str, ...]) -> None:
    first: dict[str, Run] = {}
    for name in order:
        run = await probe.run(greedy(probe, prompt, adapter=name))
        if name in first:
            compare(probe, "the first and a later run of a prompt", first[name], run, allowed=tolerance(probe))
        first.setdefault(name, run)
    texts = {run.text() for run in first.values()}
    probe.equal("different outputs of one prompt", found=len(texts), expected=len(first))
