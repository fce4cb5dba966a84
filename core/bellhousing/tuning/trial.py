"""One candidate: a server of its own, started as a user would, and the load against it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bellhousing.client import AsyncClient, RetryPolicy
from bellhousing.config import ModelConfig
from bellhousing.errors import DeadlineExceeded
from bellhousing.events import Progress
from bellhousing.launch import ServerProcess
from bellhousing.tuning.report import Point, point_of
from bellhousing.tuning.space import Settings, applied
from bellhousing.tuning.workload import Sample, Workload, run

WARM_UP = Workload(prompt_tokens=8, output_tokens=4, requests=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """How each candidate is measured: the load, the numbers of streams, and how often each is run."""

    workload: Workload
    streams: Sequence[int]
    repeats: int
    load_seconds: float


async def measure(
    model: ModelConfig, settings: Settings, plan: Plan, progress: Callable[[Progress], None]
) -> list[Point]:
    """Return a point for each number of streams, the smallest first. Raises what `serving` raises."""
    points: list[Point] = []
    runs = len(plan.streams) * plan.repeats
    progress(Progress("loading"))
    async with serving(applied(model, settings), plan.load_seconds) as client:
        parameters = {p.field for p in (await client.model(model.name)).capabilities.parameters}
        ignore_eos = "sampling.ignore_eos" in parameters
        await run(client, WARM_UP, 1, ignore_eos=ignore_eos)
        for streams in sorted(plan.streams):
            samples: list[Sample] = []
            for repeat in range(plan.repeats):
                done = len(points) * plan.repeats + repeat
                progress(Progress(f"{streams} stream{'s' if streams > 1 else ''}", done, runs, "runs"))
                samples.append(await run(client, plan.workload, streams, ignore_eos=ignore_eos))
            points.append(point_of(settings, streams, samples, points[-1] if points else None))
    return points


@asynccontextmanager
async def serving(model: dict[str, Any], load_seconds: float) -> AsyncIterator[AsyncClient]:
    """Serve a model in a process of its own for the body: what is measured is what `bellhousing serve` runs.

    Raises what `ServerProcess.wait_serving` raises; `load_seconds` is the time that loading may take.
    """
    async with ServerProcess([model]) as server:
        try:
            await server.wait_serving(load_seconds)
        except DeadlineExceeded as error:
            raise DeadlineExceeded(f"{error.message} (--load-seconds)") from error
        async with AsyncClient(server.address, retry=RetryPolicy(attempts=1)) as client:
            yield client
