"""One candidate: a server of its own, started as a user would, and the load against it."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bellhousing.client import AsyncClient, RetryPolicy
from bellhousing.config import ModelConfig
from bellhousing.errors import ConfigurationError, DeadlineExceeded, EngineUnavailable
from bellhousing.events import Progress
from bellhousing.process.ports import free_port
from bellhousing.tuning.report import Point, point_of
from bellhousing.tuning.space import Settings, applied
from bellhousing.tuning.workload import Sample, Workload, run

STOP_SECONDS = 15.0
POLL_SECONDS = 0.1
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

    Raises `ConfigurationError` with the server's last words when it ends, `DeadlineExceeded` when it takes too long.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bellhousing-tune-") as directory:
        empty = Path(directory) / "bellhousing.toml"
        empty.touch()  # or the server would read the one of this directory
        words = Path(directory) / "output"
        variables = {k: v for k, v in os.environ.items() if not k.startswith("BELLHOUSING_")}
        variables["BELLHOUSING_MODELS"] = json.dumps([model])
        command = [sys.executable, "-m", "bellhousing", "serve", "--config", str(empty), "--port", str(port)]
        with words.open("wb") as output:
            server = await asyncio.create_subprocess_exec(
                *command, "--json-logs", env=variables, stdout=output, stderr=output, start_new_session=True
            )
        try:
            async with AsyncClient(f"127.0.0.1:{port}", retry=RetryPolicy(attempts=1)) as client:
                await _ready(client, server, words, load_seconds)
                yield client
        finally:
            await _stop(server)


async def _ready(client: AsyncClient, server: asyncio.subprocess.Process, words: Path, load_seconds: float) -> None:
    try:
        async with asyncio.timeout(load_seconds):
            while True:
                if server.returncode is not None:
                    raise ConfigurationError(_last_words(words), reason="SERVER_ENDED")
                with suppress(EngineUnavailable):
                    if await client.is_serving():
                        return
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        raise DeadlineExceeded(f"the server was not ready within {load_seconds:g} s (--load-seconds)") from error


def _last_words(file: Path) -> str:
    lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (told or lines or ["the server ended without a word"])[-1]


async def _stop(server: asyncio.subprocess.Process) -> None:
    """End the server as Ctrl-C twice would, so that it takes its engine with it; kill it if that fails."""
    for end in (server.terminate, server.terminate, server.kill):
        with suppress(ProcessLookupError):
            end()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await server.wait()
                return
