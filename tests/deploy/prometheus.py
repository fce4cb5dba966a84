"""A real Prometheus with this repository's configuration, and questions to it."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bellhousing.process.ports import free_port

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
PROGRAMS = ROOT / ".tools" / "prometheus"


def program(name: str) -> str:
    """Return a program of Prometheus; a missing one fails the test."""
    path = PROGRAMS / name
    assert path.is_file(), f"expected {path}; run `make engines`"
    return str(path)


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus. An answer is a list of labels and values."""

    client: httpx.AsyncClient

    async def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the HTTP API; fail with what it says of a wrong question."""
        answer = (await self.client.get(f"/api/v1/{path}", params=parameters)).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    async def has_answer(self, expression: str) -> bool:
        """Tell whether a query finds any number."""
        found = (await self.ask("query", query=expression))["result"]
        return any(math.isfinite(float(series["value"][1])) for series in found)


@asynccontextmanager
async def running(directory: Path, target: str) -> AsyncIterator[Prometheus]:
    """Run Prometheus with the shipped files, but on `target` and every second, with its data in `directory`."""
    text = (MONITORING / "prometheus.yml").read_text()
    for shipped, here in (("127.0.0.1:9464", target), ("15s", "1s")):
        assert shipped in text
        text = text.replace(shipped, here)
    (directory / "prometheus.yml").write_text(text)
    (directory / "alerts.yml").write_text((MONITORING / "alerts.yml").read_text())
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus"), f"--config.file={directory / 'prometheus.yml'}", f"--web.listen-address={address}",
        f"--storage.tsdb.path={directory / 'data'}", "--log.level=error",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command)
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as client:
            await _wait_ready(client, process)
            yield Prometheus(client)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _wait_ready(client: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(60):
        while True:
            assert process.returncode is None, "Prometheus ended by itself"
            with suppress(httpx.TransportError):
                if (await client.get("/-/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.1)
