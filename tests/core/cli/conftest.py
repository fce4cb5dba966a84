"""The command line as a user has it: processes, their output and their exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from bellhousing.cli.application import build
from bellhousing.plugins import Plugins

COMMAND = [sys.executable, "-m", "bellhousing"]
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """Standard output as lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def value(self) -> Any:
        """Standard output as one line of JSON."""
        (value,) = self.lines
        return value


Run = Callable[..., Ran]


def environment(**extra: str) -> dict[str, str]:
    """Return an environment without settings of whoever runs the tests, in which nothing is drawn for a terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BELLHOUSING_")}
    return {**kept, "NO_COLOR": "1", "TERM": "dumb", "BELLHOUSING_ADAPTERS__REGISTRY": "memory", **extra}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `bellhousing` with arguments in an empty directory."""

    def bellhousing(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Ran:
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=tmp_path, env=environment(**(env or {})), input=stdin, capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    return bellhousing


@pytest.fixture
def explained() -> Callable[..., str]:
    """Return what `--help` of a command tells, without a process for each."""
    app, runner = build(Plugins.installed()), CliRunner()

    def text(*command: str) -> str:
        shown = runner.invoke(app, [*command, "--help"], prog_name="bellhousing", env={"TERM": "dumb", "NO_COLOR": "1"})
        assert shown.exit_code == 0, shown.output
        return shown.output

    return text


class Serving:
    """`bellhousing serve` as a process; `lines` is what it has told."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self.tree = [psutil.Process(process.pid)]

    def wait_for(self, pattern: str) -> "re.Match[str]":
        """Read what it tells until a line matches. Fails with all of it when it ends before."""
        stderr = self.process.stderr
        assert stderr
        for line in stderr:
            self.lines.append(line.rstrip())
            self.note_children()
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"no line matches {pattern!r}: {self.lines}")

    def note_children(self) -> None:
        """Remember the processes of now, so that `leftovers` finds those that outlive the server."""
        with suppress(psutil.NoSuchProcess):
            self.tree += [child for child in self.tree[0].children(recursive=True) if child not in self.tree]

    def end(self, *signals: int) -> int:
        """Send signals, SIGTERM unless told, and return the exit code."""
        self.note_children()
        for number in signals or (signal.SIGTERM,):
            self.process.send_signal(number)
        return self.exit_code()

    def exit_code(self) -> int:
        """Wait for the end of the process."""
        self.lines += (self.process.communicate(timeout=SECONDS)[1] or "").splitlines()
        return self.process.returncode

    def leftovers(self) -> list[psutil.Process]:
        """Return processes that were its own and still run."""
        return psutil.wait_procs(self.tree, timeout=20)[1]


@contextmanager
def serving(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> Iterator[Serving]:
    """Run `bellhousing serve` for the body; whatever happens, nothing is left of it."""
    with subprocess.Popen(
        [*COMMAND, "serve", *arguments], cwd=cwd, env=environment(**(env or {})), stderr=subprocess.PIPE, text=True
    ) as process:
        served = Serving(process)
        try:
            yield served
        finally:
            served.note_children()
            for left in served.tree:
                if left.is_running():
                    left.kill()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a simulator that never ends a text by itself, served by the command line."""
    arguments = ("--backend", "simulator", "--name", "sim", "--port", "0", "-o", "end_probability=0.0")
    with serving(*arguments, cwd=tmp_path_factory.mktemp("serve")) as served:
        yield served.wait_for(r"serving 'sim' at (\S+):")[1].rstrip(":")
        assert served.end() == 0, served.lines
