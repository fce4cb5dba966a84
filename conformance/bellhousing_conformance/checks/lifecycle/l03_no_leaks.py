"""L03: starts and stops leave nothing behind."""

import json
from typing import Any

from bellhousing_conformance.check import check
from bellhousing_conformance.health import UNREACHABLE, health, serves_again
from bellhousing_conformance.probe import Probe

MOST_MORE_FILES = 2


@check(
    "L03",
    title="Starts and stops leak no port, no process and no file",
    clause="bellhousing.v1.Admin.Drain",
    profile="lifecycle",
    needs=("sampling.max_tokens",),
    hooks=("stop", "start"),
    finds="a port that stays open, and (with the hook stats) a process that stays or files that grow by more than 2",
    tier="standard",
    alone=True,
    seconds=600,
)
async def starts_and_stops_leave_nothing(probe: Probe) -> None:
    """Stop and start the target; look at what is left when it has stopped and what is open when it serves."""
    files = []
    for _ in range(probe.size(smoke=1, standard=2, full=10)):
        await probe.hooks.call("stop")
        probe.equal("health of a stopped server", found=await health(probe), expected=UNREACHABLE)
        left = (await _stats(probe)).get("processes")
        if left is not None:
            probe.equal("processes of a stopped server", found=left, expected=0)
        await probe.hooks.call("start")
        await serves_again(probe)
        run = await probe.attempt(probe.request(max_tokens=2))
        probe.holds(run.failed is None, f"after a start: expected a generation to end well, found {run.failed}")
        if run.failed is not None:
            return
        files.append((await _stats(probe)).get("files"))
    known = [count for count in files if count is not None]
    if len(known) > 1:
        probe.within("open files of the last start over the first", found=known[-1] - known[0], high=MOST_MORE_FILES)


async def _stats(probe: Probe) -> dict[str, Any]:
    return dict(json.loads(await probe.hooks.call("stats"))) if probe.hooks.has("stats") else {}
