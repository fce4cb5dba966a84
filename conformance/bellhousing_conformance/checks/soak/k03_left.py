"""K03: nothing is left of a soak."""

from bellhousing_conformance.check import check
from bellhousing_conformance.judges import all_hold, together
from bellhousing_conformance.loads import NEEDS
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.soak import LEFT, soak
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge what the target holds after a soak against what it held before: no more of anything."""
    held = {row["phase"]: row for row in rows if row["kind"] == "held"}
    before, after = held.get("before"), held.get("after")
    if before is None or after is None:
        return Judgement(status=Status.INCONCLUSIVE, problems=("the soak was not looked at before and after",))
    known = [name for name in LEFT if name in before and name in after]
    figures = tuple([Figure(name=f"{name}, more than before", value=after[name] - before[name]) for name in known])
    decided = [
        {"kind": "within", "what": f"{name} after the soak", "found": after[name], "high": before[name]}
        for name in known
    ]
    return together(Judgement(status=Status.MEASURED, figures=figures), all_hold(decided))


@check(
    "K03",
    title="A soak leaves no file, no thread, no process and no request behind",
    clause="bellhousing.v1.Load.running",
    profile="soak",
    tier="full",
    needs=NEEDS,
    judge=judge,
    statistic="counts before and after, once the target is idle; none may be larger (files and threads: hook stats)",
    finds="one file, thread, process or place that stays",
    alone=True,
    seconds=300,
)
async def nothing_is_left(probe: Probe) -> None:
    """Soak, wait until the target is idle, and compare what it holds."""
    await soak(probe)
