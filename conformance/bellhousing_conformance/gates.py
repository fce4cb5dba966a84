"""Gates: what this process must keep to so that the times it takes are the target's and not its own.

Checks that run `alone` take times: an attempt that breaks a gate decides nothing. For the others the same measurement
tells whether a silence was the target's.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bellhousing_conformance.verdict import Frozen, Judgement, Status

TICK_SECONDS = 0.02
MOST_LAG_SECONDS = 0.1
"""Most of the 99th percentile of lateness: below half of the shortest time that a check allows a target (X05).

One late wake-up alone is no percentile: of fewer than 200 the second latest counts, and the latest against
`MOST_STALL_SECONDS`.
"""

MOST_STALL_SECONDS = 1.0
"""Most lateness of any wake-up: below it a single one moves no figure that a check decides by."""

MOST_CPU_SHARE = 0.6
"""Most of one processor: beyond it this process's own work waits for itself."""

BURST_SECONDS = 2.0
"""The shortest time of which the processor time is a share: opening a hundred streams at once is no lasting load."""


class Gates(Frozen):
    """What was measured of this process during an attempt.

    `lag_p99` and `lag_most` are how late its loop was woken, in seconds; `cpu_share` is its processor time, as a share
    of one processor, over `BURST_SECONDS` at least.
    """

    lag_p99: float
    lag_most: float
    cpu_share: float

    @property
    def broken(self) -> tuple[str, ...]:
        """Which gates were broken, a sentence each."""
        found = []
        if self.lag_p99 > MOST_LAG_SECONDS:
            found.append(f"loop lag p99: expected at most {MOST_LAG_SECONDS:g} s, found {self.lag_p99:.3g} s")
        if self.lag_most > MOST_STALL_SECONDS:
            found.append(f"longest stall: expected at most {MOST_STALL_SECONDS:g} s, found {self.lag_most:.3g} s")
        if self.cpu_share > MOST_CPU_SHARE:
            found.append(f"client CPU: expected at most {MOST_CPU_SHARE:.0%} of a core, found {self.cpu_share:.0%}")
        return tuple(found)


class Watch:
    """Measures until it is read."""

    def __init__(self) -> None:
        self._began, self._processor = time.perf_counter(), time.process_time()
        self._late: list[float] = []
        self._due = self._began + TICK_SECONDS

    async def tick(self) -> None:
        """Note for ever how late this process is woken."""
        while True:
            self._due = time.perf_counter() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self._late.append(max(0.0, time.perf_counter() - self._due))

    def read(self) -> Gates:
        """Return what was measured so far; a wake-up that is due and has not come counts as late as it is."""
        late = sorted([*self._late, max(0.0, time.perf_counter() - self._due)])
        seconds = max(time.perf_counter() - self._began, BURST_SECONDS)
        p99 = late[max(0, min(len(late) - 2, int(0.99 * len(late))))]
        share = (time.process_time() - self._processor) / seconds
        return Gates(lag_p99=round(p99, 4), lag_most=round(late[-1], 4), cpu_share=round(share, 4))


@asynccontextmanager
async def watching() -> AsyncIterator[Watch]:
    """Measure during the body."""
    watch = Watch()
    task = asyncio.ensure_future(watch.tick())
    try:
        yield watch
    finally:
        task.cancel()


def gated(judgement: Judgement, gates: Gates | None) -> Judgement:
    """Return the judgement of an attempt of a check that runs alone: nothing is decided behind a broken gate."""
    if gates is None or not gates.broken or judgement.status not in (Status.PASS, Status.FAIL, Status.MEASURED):
        return judgement
    problem = f"this process was too busy to judge times: {'; '.join(gates.broken)}"
    return judgement.model_copy(update={"status": Status.INCONCLUSIVE, "problems": (*judgement.problems, problem)})
