"""A07: loading and unloading, again and again, leaves nothing behind."""

from bellhousing_conformance.adapters import listed, load, register, sources, unload
from bellhousing_conformance.check import check
from bellhousing_conformance.judges import DECIDERS, all_hold, together
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

SHARE = 0.01
LEAST_BYTES = 64 * 1024
"""Growth for each cycle below this is not told from the allocator's own."""

PREFIX = "conformance-cycle-"
WARM_CYCLES = 2


def judge(rows: Rows, alpha: float) -> Judgement:
    """Judge the slope of resident memory over cycles: its interval (Theil-Sen) must reach the allowed growth.

    Collectors of garbage let memory swing by more than an adapter's share, so that few cycles may seem to grow.
    """
    told = [row for row in rows if row["kind"] == "cycle" and row["rss"]][WARM_CYCLES:]
    decided = all_hold(rows) if any(row["kind"] in DECIDERS for row in rows) else None
    if len(told) < 8:
        return decided or Judgement(status=Status.INCONCLUSIVE, problems=("too few cycles",))
    from scipy.stats import theilslopes

    slope, _, low, high = theilslopes([row["rss"] for row in told], alpha=1 - alpha)
    most = max(LEAST_BYTES, SHARE * max(row["size"] for row in told))
    figures = (
        Figure(name="cycles", value=len(told)),
        Figure(name="bytes a cycle", value=float(slope), low=float(low), high=float(high)),
        Figure(name="most bytes a cycle", value=most),
    )
    problem = f"bytes that stay of each cycle: expected at most {most:.0f}, found {low:.0f} to {high:.0f}"
    is_growing = low > most
    slope_judgement = Judgement(
        status=Status.FAIL if is_growing else Status.PASS, figures=figures, problems=(problem,) if is_growing else ()
    )
    return together(*filter(None, (slope_judgement, decided)))


@check(
    "A07",
    title="Cycles of load and unload leak no memory and no adapter",
    clause="bellhousing.v1.Load.resident_adapters",
    profile="adapters",
    needs=("adapter", "dynamic_adapters", "sampling.max_tokens"),
    judge=judge,
    statistic="Theil-Sen slope of resident memory over cycles, interval at the stage's level (with the hook rss)",
    two_stage=True,
    finds="1 % of an adapter's size, at least 64 KiB, that stays of each of 50 cycles, or one that stays resident",
    tier="standard",
    alone=True,
    seconds=300,
)
async def cycles_leave_nothing(probe: Probe) -> None:
    """Register, load, use, unload and forget."""
    (source,) = sources(probe, 1)
    for number in range(probe.size(smoke=4, standard=12, full=50)):
        name = f"{PREFIX}{number}-{probe.random.randrange(10**6)}"
        size = (await register(probe, name, source)).size_bytes
        await load(probe, name)
        await probe.generate(adapter=name, max_tokens=1)
        await unload(probe, name, forget=True)
        rss = int(await probe.hooks.call("rss")) if probe.hooks.has("rss") else 0
        probe.observe("cycle", rss=rss, size=size)
    resident = [name for name in (await probe.load()).resident_adapters if name.startswith(PREFIX)]
    probe.equal("adapters that stay on the device", found=resident, expected=[])
    probe.equal("adapters that stay in the list", found=list(await listed(probe, PREFIX)), expected=[])
