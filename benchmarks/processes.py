"""Starts the measured servers and ends them."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psutil

STOP_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Running:
    """A server process and its address."""

    address: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Return the processor time that the process and its living children have used so far."""
        family = [self.process, *self.process.children(recursive=True)]
        return float(sum(times.user + times.system for times in (member.cpu_times() for member in family)))

    def rss(self) -> int:
        """Return its resident memory in bytes."""
        return int(self.process.memory_info().rss)


@contextlib.contextmanager
def running(
    *arguments: str, python: str = sys.executable, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run `benchmarks.servers` with these arguments for the body."""
    command = [python, "-m", "benchmarks.servers", *arguments]
    with started(command, environment=environment) as (child, server):
        yield Running(f"127.0.0.1:{port_of(child)}", server.process)


def port_of(child: "subprocess.Popen[str]") -> int:
    """Return the port on a process's first line. Raises `RuntimeError` when there is none."""
    port = (child.stdout.readline() if child.stdout else "").strip()
    if not port.isdigit():
        raise RuntimeError(f"{child.args!r}: expected a port on its first line, found {port!r}")
    return int(port)


@contextlib.contextmanager
def started(
    command: list[str],
    *,
    stdin: int | None = None,
    environment: Mapping[str, str] | None = None,
    is_silent: bool = False,
) -> Iterator[tuple["subprocess.Popen[str]", Running]]:
    """Run a command for the body, then end it and the processes it has started."""
    stdout = subprocess.DEVNULL if is_silent else subprocess.PIPE
    stderr = subprocess.DEVNULL if is_silent else None
    variables = {**os.environ, **(environment or {})}
    with subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, text=True, env=variables) as child:
        process = psutil.Process(child.pid)
        try:
            yield child, Running("", process)
        finally:
            _end(process)


def _end(process: psutil.Process) -> None:
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    process.terminate()
    for left in psutil.wait_procs(family, STOP_SECONDS)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
