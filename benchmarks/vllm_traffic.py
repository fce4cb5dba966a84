"""Traffic for adapters on vLLM: a server with adapters, and a closed loop of requests whose adapters follow a trace."""

import asyncio
import itertools
import json
import random
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bellhousing import AsyncClient
from bellhousing.client import RetryPolicy
from bellhousing.errors import BellhousingError
from benchmarks.processes import running
from benchmarks.vllm_settings import ENVIRONMENT, MODEL, OURS, PYTHON

WORKERS = 48
"""Requests that are open at once: three times what the engine runs, so that there is a queue."""
LENGTHS = (8, 24)
"""Tokens of an output, at least and at most."""
PROMPT = " is the number of this text about the history of the Roman empire, which began"
TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Lora:
    """How a server has adapters: places on the device, the largest rank, and GiB for those that left it."""

    slots: int
    rank: int
    host_gib: float = 4.0

    def model(self, roots: Path) -> dict[str, Any]:
        """Return the configuration of the model, with adapters from below `roots`."""
        lora = {"max_loras": self.slots, "max_rank": self.rank, "host_gib": self.host_gib}
        options = OURS["options"] | {"lora": lora}
        return OURS | {"adapter_roots": [str(roots)], "adapter_slots": self.slots, "options": options}


@dataclass(frozen=True, slots=True)
class Passed:
    """What became of a trace: tokens a second while there were requests to begin, loads, and requests that failed."""

    rate: float
    loads: int
    failed: int


@dataclass(frozen=True, slots=True)
class Served:
    """A server with adapters, and its client. Prompts are numbered, so that none begins as another."""

    client: AsyncClient
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def answer(self, adapter: str, tokens: int, prompt: str = PROMPT) -> list[float]:
        """Return when each token of an answer came, in seconds of `time.perf_counter`."""
        stamps = list[float]()
        stream = self.client.generate(
            f"{next(self.numbers)}{prompt}",
            adapter=adapter,
            max_tokens=tokens,
            temperature=0,
            ignore_eos=True,
            coalescing=False,
            timeout=TIMEOUT,
        )
        async for delta in stream:
            stamps += [time.perf_counter()] * delta.token_count
        return stamps

    async def ttft(self, adapter: str) -> float:
        """Return the TTFT of an answer to a prompt of few tokens, in seconds."""
        began = time.perf_counter()
        return (await self.answer(adapter, 1, ""))[0] - began

    async def loads(self) -> int:
        """Return how often adapters were brought onto the device so far."""
        return sum([adapter.load_count async for adapter in self.client.adapters()])

    async def take(self, trace: Sequence[str], seed: int, workers: int = WORKERS) -> Passed:
        """Take the requests of a trace, `workers` at a time."""
        before, names, drawn = await self.loads(), iter(trace), random.Random(seed)
        begun, came, failed = list[float](), list[float](), 0

        async def work() -> None:
            nonlocal failed
            for name in names:
                begun.append(time.perf_counter())
                try:
                    came.extend(await self.answer(name, drawn.randint(*LENGTHS)))
                except BellhousingError:
                    failed += 1

        await asyncio.gather(*(work() for _ in range(workers)))
        first, last = begun[0], begun[-1]  # the emptying of the queue at the end is no traffic
        rate = sum(stamp <= last for stamp in came) / (last - first)
        return Passed(rate, await self.loads() - before, failed)


@asynccontextmanager
async def served(lora: Lora, roots: Path) -> AsyncIterator[Served]:
    """Give a server that knows every adapter below `roots` for the body."""
    with running("model", json.dumps(lora.model(roots)), python=str(PYTHON), environment=ENVIRONMENT) as server:
        async with AsyncClient(server.address, retry=RetryPolicy(attempts=1)) as client:
            async for message in client.import_adapters(roots.as_uri()):
                if message.HasField("refused"):
                    raise RuntimeError(f"an adapter was refused: {message.refused}")
            yield Served(client)


async def write_adapters(roots: Path, count: int, rank: int) -> None:
    """Write so many adapters for the attention of the model, named by numbers from 1 on."""
    command = [str(PYTHON), "-m", "benchmarks.vllm_adapters", str(MODEL), str(roots), str(count), str(rank)]
    await asyncio.to_thread(lambda: subprocess.run(command, check=True, capture_output=True))
