"""Ten thousand registered adapters: how fast they come, are found and listed, and what they take."""

import asyncio
import gc
import json
import os
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bellhousing.client import AsyncClient, RetryPolicy
from bellhousing.config import load_config
from bellhousing.launch import ServerProcess
from bellhousing.plugins import Plugins
from bellhousing.server import Server
from bellhousing.services.adapters import DEFAULT_PAGE
from benchmarks.figures import Figure, figure

COUNT, AT_ONCE, RUNS = 10_000, 64, 5
LOOKUPS = 2000


async def measure() -> list[Figure]:
    """Return the figures, each over `RUNS` registries on the disk."""
    found: dict[str, list[float]] = {}
    for _ in range(RUNS):
        for name, value in (await _one_run()).items():
            found.setdefault(name, []).append(value)
    return [
        figure("registrations a second, each a call, 64 at a time", found["calls"], at_least=1000, unit="/s"),
        figure("registrations a second, import of a directory", found["import"], at_least=1000, unit="/s"),
        figure("a page of 100, as a client sees it", found["page"], at_most=10, unit=" ms"),
        figure("the same, where 1 in 100 has the tag", found["filtered"], at_most=10, unit=" ms"),
        figure("memory for each adapter", found["memory"], at_most=1024, unit=" B"),
        figure("lookup and claim of a resident adapter", found["claim"], at_most=50, unit=" us"),
        figure("start of the registry with all of them", found["start"], unit=" ms"),
    ]


async def _one_run() -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bellhousing-adapters-") as folder:
        path = Path(folder)
        root = path / "root"
        _write(root)
        async with _process(path, "calls") as client:
            found = {"calls": COUNT / await _register(client, root)}
            found |= {"page": await _page(client), "filtered": await _page(client, tags=["rare"])}
        found["start"], found["memory"] = await _opened(path)
        found["claim"] = await _claim(path)
        async with _process(path, "import") as client:
            began = time.perf_counter()
            messages = [m async for m in client.import_adapters(root.as_uri())]
            found["import"] = messages[-1].done.registered / (time.perf_counter() - began)
        return found


def _write(root: Path) -> None:
    config = {
        "peft_type": "LORA",
        "r": 16,
        "base_model_name_or_path": "org/base",
        "target_modules": ["q_proj", "v_proj"],
    }
    text = json.dumps(config)
    for number in range(COUNT):
        path = root / f"n{number:05}"
        path.mkdir(parents=True)
        (path / "adapter_config.json").write_text(text)
        (path / "adapter_model.safetensors").write_bytes(os.urandom(512))


def _model(folder: Path) -> dict[str, Any]:
    return {"backend": "simulator", "name": "sim", "adapter_roots": [str(folder / "root")]}


@asynccontextmanager
async def _process(folder: Path, name: str) -> AsyncIterator[AsyncClient]:
    """Give a client of a server in a process of its own, whose registry is a file of that name."""
    variables = {"BELLHOUSING_ADAPTERS__REGISTRY": f"sqlite:///{folder}/{name}.db"}
    async with ServerProcess([_model(folder)], variables=variables) as process:
        await process.wait_serving(60)
        async with AsyncClient(process.address, retry=RetryPolicy(attempts=1)) as client:
            yield client


async def _register(client: AsyncClient, root: Path) -> float:
    """Register all, and return the seconds that it took."""
    numbers = iter(range(COUNT))

    async def some() -> None:
        for number in numbers:
            name = f"n{number:05}"
            tags = ["rare"] if number % 100 == 0 else []
            await client.register_adapter(name, (root / name).as_uri(), tags=tags)

    began = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return time.perf_counter() - began


async def _page(client: AsyncClient, **wanted: Any) -> float:
    """Return the median milliseconds of the first page, the last of which is found late where few are wanted."""
    took = []
    for _ in range(20):
        began = time.perf_counter()
        number = 0
        async for _ in client.adapters(page_size=DEFAULT_PAGE, **wanted):
            number += 1
            if number == DEFAULT_PAGE:
                break
        took.append((time.perf_counter() - began) * 1e3)
    return statistics.median(took)


async def _claim(folder: Path) -> float:
    """Return the median microseconds that a request spends on its adapter: look up, claim, hold, release."""
    config = {
        "server": {"port": 0},
        "adapters": {"registry": f"sqlite:///{folder}/calls.db"},
        "models": [_model(folder)],
    }
    server, took = Server(load_config(None, config), Plugins()), list[float]()
    try:
        await server.start()
        await server.wait_serving()
        (model,) = server.models
        await model.adapters.load("n00000")
        for _ in range(LOOKUPS):
            began = time.perf_counter_ns()
            await model.adapters.look_up("n00000", "tenant")
            claim = model.adapters.claim("n00000", "tenant")
            claim.hold()
            claim.release()
            took.append((time.perf_counter_ns() - began) / 1e3)
    finally:
        await server.stop()
    return statistics.median(took)


async def _opened(folder: Path) -> tuple[float, float]:
    """Return the milliseconds to open the registry, and the bytes of memory that it keeps for each adapter."""
    from bellhousing.adapters import Catalogue, Location

    took, kept = 0.0, 0.0
    for is_traced in (False, True):  # tracing slows what it traces
        gc.collect()
        if is_traced:
            tracemalloc.start()
        catalogue = Catalogue(Location(f"sqlite:///{folder}/calls.db"), "bench", 1.0)
        began = time.perf_counter()
        await catalogue.open()
        took = took or (time.perf_counter() - began) * 1e3
        if is_traced:
            gc.collect()
            kept = tracemalloc.get_traced_memory()[0] / COUNT
            tracemalloc.stop()
        await catalogue.close()
    return took, kept
