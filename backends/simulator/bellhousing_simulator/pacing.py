"""When things happen: waits that end with the engine, and the schedule of one request's tokens."""

import asyncio
from random import Random

from bellhousing.errors import EngineUnavailable
from bellhousing_simulator.options import SimulatorOptions

TOKENS_BETWEEN_PAUSES = 32
"""Without latency other tasks get to run after about this many tokens."""


class Life:
    """The life of a simulated engine. Everything that waits in it wakes with an error when it ends."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self._end = ""
        self._died = asyncio.Event()

    def end(self, reason: str) -> None:
        """End the engine: every wait, now and later, raises `EngineUnavailable` with the reason."""
        self._end = self._end or reason
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def die(self, reason: str) -> None:
        """End the engine as one that fails by itself does."""
        self.end(reason)
        self._died.set()

    async def died(self) -> str:
        """Return the reason once the engine has died."""
        await self._died.wait()
        return self._end

    def check(self) -> None:
        """Raise `EngineUnavailable` when the engine has ended."""
        if self._end:
            raise EngineUnavailable(f"the simulated engine {self._end}", engine_code="SIMULATED")

    async def sleep(self, seconds: float | None) -> None:
        """Wait; None is for ever. Raises `EngineUnavailable` as soon as the engine ends."""
        self.check()
        if seconds is not None and seconds <= 0:
            await asyncio.sleep(0)
        else:
            await self._wait(seconds)
        self.check()

    async def _wait(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _wake, future)
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)
            if timer:
                timer.cancel()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Pace:
    """The schedule of one request, from now on. It is absolute: a late token does not delay the ones after it.

    All latencies are scaled by lognormal factors of mean 1, drawn from the request's seed apart from its tokens.
    """

    def __init__(self, options: SimulatorOptions, life: Life, seed: int | None) -> None:
        self._options = options
        self._life = life
        self._random = Random(None if seed is None else f"pace/{seed}") if options.jitter else None
        self._due = asyncio.get_running_loop().time()
        self.tokens_between_pauses = 1 if options.inter_token_seconds else TOKENS_BETWEEN_PAUSES

    async def prefill(self, prompt_tokens: int) -> float:
        """Wait until the first token is due; return the seconds that prefill took by the schedule."""
        seconds = self._scaled(prompt_tokens * self._options.prefill_seconds_per_token)
        first = self._scaled(self._options.first_token_seconds)
        self._due += seconds + first
        await self._wait()
        return seconds

    async def pause(self) -> None:
        """Wait until the next token is due; without latency only let other tasks run."""
        self._due += self._scaled(self._options.inter_token_seconds)
        await self._wait()

    async def _wait(self) -> None:
        await self._life.sleep(self._due - asyncio.get_running_loop().time())

    def _scaled(self, seconds: float) -> float:
        if not seconds or self._random is None:
            return seconds
        sigma = self._options.jitter
        return seconds * self._random.lognormvariate(-sigma * sigma / 2, sigma)
