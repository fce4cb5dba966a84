import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tools.demo import DemoError, descendants, end, parents, shut_down

EXITS_WELL = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
signal.pause()
"""
LEAVES_A_CHILD = "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True)\n" + EXITS_WELL
EXITS_WITH_3 = EXITS_WELL.replace("exit(0)", "exit(3)")

Run = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def run() -> Iterator[Run]:
    """Start a program that says when it is ready; what it left is ended afterwards."""
    with ExitStack() as stack:

        def start(source: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE)
            stack.enter_context(process)
            for pid in {process.pid, *_after_ready(process)}:
                stack.callback(_kill, pid)
            return process

        yield start


def _after_ready(process: "subprocess.Popen[bytes]") -> set[int]:
    assert process.stdout
    process.stdout.readline()
    return descendants(process.pid)


def _kill(pid: int) -> None:
    if pid in parents():
        os.kill(pid, signal.SIGKILL)


def test_a_server_that_ends_well_passes(run: Run) -> None:
    process = run(EXITS_WELL)
    shut_down(process)
    assert process.returncode == 0


def test_an_exit_code_other_than_zero_is_a_failure(run: Run) -> None:
    with pytest.raises(DemoError, match="expected exit code 0, found 3"):
        shut_down(run(EXITS_WITH_3))


def test_a_process_left_behind_is_a_failure(run: Run) -> None:
    process = run(LEAVES_A_CHILD)
    (child,) = descendants(process.pid)
    with pytest.raises(DemoError, match=rf"expected no process, found \[{child}\]"):
        shut_down(process)


def test_ending_a_server_that_has_ended_does_nothing(run: Run) -> None:
    process = run(EXITS_WELL)
    end(process)
    end(process)
    assert process.returncode == 0


def test_a_process_that_waits_to_be_reaped_counts_as_dead(run: Run) -> None:
    process = run(EXITS_WELL)
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process.pid not in parents()
