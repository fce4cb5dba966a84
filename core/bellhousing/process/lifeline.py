"""How the engine's process, and all that it started, ends with the server, however the server ends.

Run as a program (`python lifeline.py COMMAND ARGUMENTS`) it becomes another command, with the same promise. It imports
nothing but Python's own library, so that this takes milliseconds.
"""

import fcntl
import os
import select
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

NOT_STARTED = 127
"""The exit code of a command that could not be started, as shells have it."""


def die_with_server(*, across_exec: bool = False) -> None:
    """Have this process group killed when the server dies.

    Standard input is the read end of a pipe that the server holds open and never writes to. On Linux the kernel watches
    it: its signal needs no thread of ours, so native code that holds the interpreter's lock cannot delay it, and
    it reaches the whole group (PR_SET_PDEATHSIG would spare what the engine started, and fire when only the thread
    that started us ends). Elsewhere a thread waits for the pipe's end. With `across_exec` it holds also for the
    command that this process becomes, which elsewhere a process of the group sees to, since no thread outlives that.
    """
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if not hasattr(fcntl, "F_SETSIG"):
        _watch(lifeline, in_process=across_exec)
        return
    os.set_inheritable(lifeline, across_exec)  # the kernel watches it only while someone holds it
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    already = select.poll()
    already.register(lifeline, 0)
    if already.poll(0):  # it ended before the kernel watched
        kill_group()


def become(command: Sequence[str]) -> NoReturn:
    """Become a command, found on the path unless it has a slash, that dies with the server. Call it in a new group."""
    die_with_server(across_exec=True)
    try:
        os.execvp(command[0], tuple(command))  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(NOT_STARTED)


def kill_group() -> None:
    """Kill this process and all that it started."""
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _watch(lifeline: int, *, in_process: bool) -> None:
    if not in_process:
        threading.Thread(target=_wait_for_end, args=(lifeline,), daemon=True).start()
    elif os.fork() == 0:
        _wait_for_end(lifeline)


def _wait_for_end(lifeline: int) -> None:
    os.read(lifeline, 1)
    kill_group()


if __name__ == "__main__":
    become(sys.argv[1:])
