import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from bellhousing.errors import EngineUnavailable
from bellhousing.process.command import Command, first_ending

WITH_CHILD = "sleep 600 & echo $! > {child}; wait"
STUBBORN = "trap '' TERM; echo ready > {child}; while true; do sleep 0.1; done"

pytestmark = pytest.mark.asyncio


def shell(script: str, *, environment: dict[str, str] | None = None) -> Command:
    return Command("m", ("/bin/sh", "-c", script), environment or dict(os.environ), backend="b")


def has_text(path: Path) -> bool:
    return path.is_file() and bool(path.read_text())


def is_there(path: Path) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        return has_text(path)

    return ready


@asynccontextmanager
async def running(script: str, file: Path) -> AsyncIterator[Command]:
    command = shell(script.format(child=file))
    await command.start(is_there(file), seconds=20)
    try:
        yield command
    finally:
        await command.stop()


async def are_gone(pids: Sequence[int]) -> bool:
    for _ in range(200):
        if not any(is_alive(pid) for pid in pids):
            return True
        await asyncio.sleep(0.02)
    return False


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_start_returns_once_the_command_is_ready(tmp_path: Path) -> None:
    async with running(WITH_CHILD, tmp_path / "child") as command:
        assert command.pid
        assert is_alive(command.pid)


async def test_the_command_itself_is_the_process_that_is_watched(tmp_path: Path) -> None:
    async with running(WITH_CHILD, tmp_path / "child") as command:
        assert "python" not in psutil.Process(command.pid).name()


async def test_stop_ends_the_command_and_what_it_started(tmp_path: Path) -> None:
    async with running(WITH_CHILD, tmp_path / "child") as command:
        pids = [command.pid or 0, int((tmp_path / "child").read_text())]
        await command.stop()
        await command.stop()
    assert await are_gone(pids)
    assert command.pid is None


async def test_a_command_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    async with running(STUBBORN, tmp_path / "child") as command:
        pid = command.pid or 0
        await command.stop(seconds=0.1)
    assert await are_gone([pid])


async def test_a_command_that_dies_is_told_and_its_children_go_too(tmp_path: Path) -> None:
    async with running(WITH_CHILD, tmp_path / "child") as command:
        child, pid = int((tmp_path / "child").read_text()), command.pid or 0
        os.kill(pid, signal.SIGKILL)
        reason = await asyncio.wait_for(command.died(), 10)
    assert reason == "its process was killed by SIGKILL"
    assert await are_gone([child])


async def test_a_stopped_command_has_not_died(tmp_path: Path) -> None:
    async with running(WITH_CHILD, tmp_path / "child") as command:
        await command.stop()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(command.died(), 0.5)


async def test_an_end_before_readiness_is_unavailable_with_the_last_output(tmp_path: Path) -> None:
    command = shell("echo the port is taken >&2; exit 3")
    with pytest.raises(EngineUnavailable, match="exited with code 3; it said last: the port is taken"):
        await command.start(is_there(tmp_path / "never"), seconds=20)


async def test_a_command_that_does_not_exist_is_unavailable(tmp_path: Path) -> None:
    command = Command("m", ("/no/such/engine",), {}, backend="b")
    with pytest.raises(EngineUnavailable, match=r"code 127.*No such file"):
        await command.start(is_there(tmp_path / "never"), seconds=20)


async def test_a_command_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    command = shell(WITH_CHILD.format(child=tmp_path / "child"))
    with pytest.raises(EngineUnavailable, match=r"not ready within 1 s"):
        await command.start(is_there(tmp_path / "never"), seconds=1)
    assert await are_gone([int((tmp_path / "child").read_text())])


async def test_a_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    command = shell(WITH_CHILD.format(child=tmp_path / "child"))
    starting = asyncio.ensure_future(command.start(is_there(tmp_path / "never"), seconds=60))
    while not (await is_there(tmp_path / "child")()):
        await asyncio.sleep(0.02)
    starting.cancel()
    await asyncio.wait({starting})
    assert starting.cancelled()
    assert await are_gone([int((tmp_path / "child").read_text())])


async def test_the_command_sees_the_given_environment_alone(tmp_path: Path) -> None:
    file = tmp_path / "environment"
    command = shell(f"/usr/bin/env > {file}.part; mv {file}.part {file}; wait; sleep 600", environment={"ONLY": "this"})
    await command.start(is_there(file), seconds=20)
    await command.stop()
    names = {line.split("=")[0] for line in file.read_text().splitlines()}
    assert "ONLY" in names
    assert names <= {"ONLY", "PWD", "SHLVL", "_", "OLDPWD", "LC_CTYPE", "PATH"}


OWNER = """
import asyncio, os, pathlib, sys
from bellhousing.process.command import Command

async def main():
    file = pathlib.Path(sys.argv[1])
    command = Command("m", ("/bin/sh", "-c", f"sleep 600 & echo $$ $! > {file}; wait"), os.environ, backend="b")
    async def ready():
        return file.is_file() and bool(file.read_text())
    await command.start(ready, seconds=20)
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_nothing_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(  # noqa: ASYNC220 - the loop has nothing else to do
        [sys.executable, "-c", OWNER, str(tmp_path / "pids")], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout
    assert owner.stdout.readline() == "ready\n"
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert all(map(is_alive, pids))
    begin = time.monotonic()
    owner.kill()
    owner.wait()
    assert await are_gone(pids), f"alive {time.monotonic() - begin:.1f} s after the server"
    owner.stdout.close()


async def test_the_first_of_several_endings_is_told_and_the_others_are_no_longer_waited_for() -> None:
    cancelled: list[str] = []

    async def never() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("never")
            raise
        return ""

    async def at_once(how: str) -> str:
        return how

    assert await first_ending(never(), at_once("first"), at_once("second")) == "first"
    await asyncio.sleep(0)
    assert cancelled == ["never"]
