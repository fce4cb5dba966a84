"""A stand-in for `text-generation-launcher` that behaves as the recorded one does, around a scripted router.

`standin` writes an executable that runs it. It loads for a while, listens only then, and has a process for a shard.
When that dies each stream gets an error, and it ends with 1. On SIGTERM it refuses connections and lets running streams
finish. SIGUSR1 lets held streams go on. What it was given is in the file of its record, a line of JSON for each launch.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.engines.server import Answer, Asked, whole
from tests.engines.tgi import ScriptedTgi, error_frame

ROOT = Path(__file__).parents[2]
LOAD_SECONDS = 0.2
DEATH_SECONDS = 0.4
"""From a shard's death to the launcher's end; by then every stream has its error."""


class Keyed(ScriptedTgi):
    """A router that answers only to its key, but for its health, its limits and its metrics."""

    key = ""

    async def __call__(self, asked: Asked) -> Answer:
        is_open = asked.path in {"/health", "/info", "/metrics"}
        if is_open or asked.headers.get("authorization") == f"Bearer {self.key}":
            return await super().__call__(asked)
        return whole(b"", "", status=401)


def standin(
    directory: Path, *, hold: int | None = None, fails: bool = False, fails_with: str = ""
) -> tuple[Path, Path]:
    """Return an executable and its record, which each launch adds a line to.

    With `hold` streams stop before that token; `fails`: it never listens; `fails_with`: the same with an adapter of
    this name.
    """
    program, record = directory / "text-generation-launcher", directory / "record.json"
    switches = [f"--hold {hold}"] if hold is not None else []
    switches += ["--fails"] if fails else []
    switches += [f"--fails-with '{fails_with}'"] if fails_with else []
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH='{ROOT}' exec '{sys.executable}' -m tests.engines.launcher"
        f" --record '{record}' {' '.join(switches)} -- \"$@\"\n"
    )
    program.chmod(0o755)
    return program, record


async def launch(arguments: list[str], switches: argparse.Namespace) -> int:
    """Run until the shard dies or SIGTERM comes; return the exit code."""
    flags = dict(zip(arguments[::2], arguments[1::2], strict=True))
    shard = await asyncio.create_subprocess_exec("sleep", "600")
    told = {"arguments": arguments, "environment": dict(os.environ), "shard": shard.pid, "pid": os.getpid()}
    await asyncio.to_thread(_note, switches.record, told)
    await asyncio.sleep(LOAD_SECONDS)
    adapters = tuple(pair.partition("=")[0] for pair in flags.get("--lora-adapters", "").split(",") if pair)
    if switches.fails or (switches.fails_with and switches.fails_with in adapters):
        sys.stderr.write("Error: ShardCannotStart\n")
        shard.kill()
        return 1
    router = Keyed(max_total_tokens=int(flags.get("--max-total-tokens", 1024)), adapters=adapters)
    router.key, router.hold = os.environ["API_KEY"], switches.hold
    router.max_concurrent_requests = int(flags["--max-concurrent-requests"])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, router.release.set)
    async with router.listening(int(flags["--port"])) as (server, _):
        dying, stopping = asyncio.ensure_future(shard.wait()), asyncio.ensure_future(stop.wait())
        await asyncio.wait({dying, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            stopping.cancel()
            router.is_healthy = False
            router.failure = error_frame(
                "Request failed during generation: Server error: transport error", "generation"
            )
            router.release.set()
            await asyncio.sleep(DEATH_SECONDS)
            return 1
        server.refuse()
        while router.running:
            await asyncio.sleep(0.01)
        shard.terminate()
        await dying
    return 0


def _note(record: Path, told: dict[str, Any]) -> None:
    with record.open("a") as file:
        file.write(json.dumps(told) + "\n")


def main() -> int:
    """Read the stand-in's own switches, then the launcher's arguments behind `--`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--hold", type=int)
    parser.add_argument("--fails", action="store_true")
    parser.add_argument("--fails-with", default="")
    place = sys.argv.index("--")
    switches = parser.parse_args(sys.argv[1:place])
    return asyncio.run(launch(sys.argv[place + 1 :], switches))


if __name__ == "__main__":
    sys.exit(main())
