"""How the engine's process, and all that it started, ends with the server, however the server ends."""

import fcntl
import os
import select
import signal
import threading


def die_with_server() -> None:
    """Have this process group killed when the server dies.

    Standard input is the read end of a pipe that the server holds open and never writes to. On Linux the kernel watches
    it: its signal needs no thread of ours, so native code that holds the interpreter's lock cannot delay it, and
    it reaches the whole group (PR_SET_PDEATHSIG would spare what the engine started, and fire when only the thread
    that started us ends). Elsewhere a thread waits for the pipe's end.
    """
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if not hasattr(fcntl, "F_SETSIG"):
        threading.Thread(target=_wait_for_end, args=(lifeline,), daemon=True).start()
        return
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    already = select.poll()
    already.register(lifeline, 0)
    if already.poll(0):  # it ended before the kernel watched
        kill_group()


def kill_group() -> None:
    """Kill this process and all that it started."""
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _wait_for_end(lifeline: int) -> None:
    os.read(lifeline, 1)
    kill_group()
