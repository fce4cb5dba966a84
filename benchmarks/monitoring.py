"""What metrics cost: the server on the simulator at zero latency, with and without the prometheus plugin."""

import random
from contextlib import ExitStack

from benchmarks.contract import request, timed
from benchmarks.figures import Figure, figure
from benchmarks.processes import running

PAIRS = 15


async def measure() -> list[Figure]:
    """Return the ratios of messages and of processor time."""
    wanted = request(coalesce=False)
    with ExitStack() as stack:
        arms = [(kind, stack.enter_context(running(kind))) for kind in ("simulator", "observed")]
        for _, server in arms:
            await timed(server, wanted)
        rates: list[float] = []
        cpu: list[float] = []
        for _ in range(PAIRS):
            random.shuffle(arms)
            found = {kind: await timed(server, wanted) for kind, server in arms}
            (count, seconds, used), (plain_count, plain_seconds, plain_used) = found["observed"], found["simulator"]
            rates.append((count / seconds) / (plain_count / plain_seconds))
            cpu.append((used / count) / (plain_used / plain_count))
    return [
        figure("messages/s with metrics over without, one message a token", rates),
        figure("server CPU a message with metrics over without", cpu),
    ]
