"""Faults: what goes wrong in the stream of a request that a `Fault` matches."""

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from bellhousing.errors import EngineFault, EngineUnavailable
from bellhousing.events import Delta, Event, Finished, Started
from bellhousing_simulator.options import Fault
from bellhousing_simulator.pacing import Life

OPEN_CHARACTER = b"\xf0\x9f"
"""The beginning of a character; the tokens that follow do not complete it."""

CODE = "SIMULATED"
"""The engine's own code in errors of faults."""


async def inject(fault: Fault, events: AsyncGenerator[Event, None], life: Life) -> AsyncGenerator[Event, None]:
    """Yield the events with the fault in them."""
    tokens = 0
    async with aclosing(events):
        async for event in events:
            yield _spoilt(fault, event) if tokens == fault.after_tokens else event
            tokens += isinstance(event, Delta)
            if tokens != fault.after_tokens or isinstance(event, Finished):
                continue
            if fault.kind == "end_without_finished":
                return
            if fault.kind == "two_started":
                yield Started()
            await _strike(fault, life)
    if fault.kind == "extra_after_finished":
        yield Delta("extra")


def _spoilt(fault: Fault, event: Event) -> Event:
    """Return a delta as the fault leaves it; other events are as they were."""
    if not isinstance(event, Delta):
        return event
    if fault.kind == "invalid_utf8":
        return replace(event, text=OPEN_CHARACTER)
    if fault.kind == "wrong_count":
        return replace(event, token_count=event.token_count + 1)
    return event


async def _strike(fault: Fault, life: Life) -> None:
    """Do what the fault does at its place in the stream, if it does anything there."""
    after = f"after {fault.after_tokens} tokens, as its options ask"
    match fault.kind:
        case "error":
            raise EngineFault(f"the simulated engine failed the request {after}", engine_code=CODE)
        case "unavailable":
            raise EngineUnavailable(f"the simulated engine became unavailable {after}", engine_code=CODE)
        case "unexpected_exception":
            raise RuntimeError(f"a simulated defect {after}")
        case "hang":
            await life.sleep(None)
        case "die":
            life.die(f"died {after}")
            life.check()
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
