"""When a failed call is tried again."""

import random
import time
from dataclasses import dataclass

from bellhousing.client.failures import is_partial
from bellhousing.errors import BellhousingError, EngineUnavailable, Overloaded


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Tries again what was refused or unavailable, never what had already sent output. Waits are in seconds.

    A server's RetryInfo is the shortest wait; without one, waits double from `first`. Half of each is drawn by chance,
    so that clients do not come back together.
    """

    attempts: int = 3
    first: float = 0.2
    most: float = 10.0

    def wait(self, error: BellhousingError, attempt: int, deadline: float | None) -> float | None:
        """Return how long to wait before the next attempt; None to give up. `attempt` counts from 1."""
        if attempt >= self.attempts or not isinstance(error, EngineUnavailable | Overloaded) or is_partial(error):
            return None
        doubled = min(self.most, self.first * 2.0 ** (attempt - 1))
        wait = (error.retry_after or doubled / 2) + random.random() * doubled / 2
        if deadline is not None and time.monotonic() + wait >= deadline:
            return None
        return wait
