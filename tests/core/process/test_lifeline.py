"""Servers that are killed: their engines end with them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.core.process.observation import is_running, wait_until_gone

SERVER = """
import asyncio, sys
sys.path[:] = sys.argv[1:]
from bellhousing.process import ProcessBackend
from bellhousing.settings import ModelSpec
from tests.core.process.engines import EchoBackend, EchoOptions
from tests.core.process.observation import children

async def serve(*engines):
    starts = []
    for options in engines:
        backend = ProcessBackend(EchoBackend, ModelSpec(name="echo"), EchoOptions(**options))
        starts.append(asyncio.create_task(backend.start(lambda _: None)))
    await starts[0]
    while len(children()) < len(engines) + 2:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    print(*children(), flush=True)
    await asyncio.sleep(600)

asyncio.run(serve(
    {"with_grandchild": True}, {"on_start": "block"}, {"on_start": "hold_lock", "with_grandchild": True}
))
"""

GROUP = """
import fcntl, os, subprocess, sys, time
sys.path[:] = sys.argv[2:]
if sys.argv[1] == "thread":
    del fcntl.F_SETSIG
from bellhousing.process.lifeline import die_with_server
die_with_server()
assert sys.stdin.read() == ""
print(os.getpid(), subprocess.Popen(["sleep", "600"]).pid, flush=True)
time.sleep(600)
"""


@contextmanager
def running(script: str, *arguments: str, **options: object) -> Iterator[tuple["subprocess.Popen[str]", list[int]]]:
    """Run a script that prints process ids and stays."""
    command = [sys.executable, "-c", script, *arguments, *sys.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as process:  # type: ignore[call-overload]
        try:
            yield process, [int(pid) for pid in process.stdout.readline().split()]
        finally:
            process.kill()


def test_killing_the_server_ends_its_engines_and_what_they_started_even_in_native_code() -> None:
    with running(SERVER) as (server, pids):
        assert len(pids) == 5
        assert all(map(is_running, pids))
        server.kill()
        assert wait_until_gone(*pids)


@pytest.mark.parametrize("watch", ["kernel", "thread"])
def test_the_end_of_the_lifeline_ends_the_group(watch: str) -> None:
    if watch == "kernel" and sys.platform != "linux":
        pytest.skip("only Linux signals a group when a pipe ends")
    with running(GROUP, watch, stdin=subprocess.PIPE, start_new_session=True) as (process, pids):
        assert all(map(is_running, pids))
        assert process.stdin is not None
        process.stdin.close()
        process.wait(5)
        assert wait_until_gone(*pids)


def test_a_lifeline_that_has_ended_already_ends_the_group() -> None:
    lifeline, held = os.pipe()
    os.close(held)
    with running(GROUP, "kernel", stdin=lifeline, start_new_session=True) as (process, pids):
        os.close(lifeline)
        assert process.wait(5) == -signal.SIGKILL
        assert pids == []
