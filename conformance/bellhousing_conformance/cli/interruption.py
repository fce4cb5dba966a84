"""SIGINT and SIGTERM: what runs is cancelled, so that nothing that was started stays behind."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer

from bellhousing.cli.output import stderr
from bellhousing_conformance.report.outcome import INFRASTRUCTURE

Value = TypeVar("Value")


def run_until_interrupted(work: Coroutine[Any, Any, Value]) -> Value:
    """Return the result of `work`; the first signal cancels it, later ones change nothing while it cleans up.

    Raises `typer.Exit` with `INFRASTRUCTURE` where the work had nothing to return yet.
    """
    try:
        return asyncio.run(_watched(work))
    except asyncio.CancelledError as error:
        stderr.print("error: interrupted before there was anything to write")
        raise typer.Exit(INFRASTRUCTURE) from error


async def _watched(work: Coroutine[Any, Any, Value]) -> Value:
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    is_cancelled = False

    def interrupt() -> None:
        nonlocal is_cancelled
        if not is_cancelled:
            is_cancelled = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    return await task
