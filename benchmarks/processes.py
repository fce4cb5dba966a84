"""Starts the measured servers and ends them."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

STOP_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Running:
    """A server process and its address."""

    address: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Return the processor time that the process has used so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def rss(self) -> int:
        """Return its resident memory in bytes."""
        return int(self.process.memory_info().rss)


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Running]:
    """Run `benchmarks.servers` with these arguments for the body."""
    command = [sys.executable, "-m", "benchmarks.servers", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as child:
        try:
            port = (child.stdout.readline() if child.stdout else "").strip()
            if not port:
                raise RuntimeError(f"{' '.join(command)}: expected a port on its first line, found none")
            yield Running(f"127.0.0.1:{port}", psutil.Process(child.pid))
        finally:
            child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
