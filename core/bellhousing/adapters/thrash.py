"""Thrashing: adapters that are evicted and wanted back at once, so that time goes into loading."""

from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 60.0
LEAST_RELOADS = 4


class ThrashDetector:
    """Counts loads of adapters that were evicted within the last minute.

    It is thrashing when as many of them fall into one minute as the device has slots, at least `LEAST_RELOADS`: then
    each slot was, on average, taken from an adapter that was wanted back. It is told at most once a minute.
    """

    def __init__(self, slots: int, clock: Callable[[], float]) -> None:
        self._least = max(slots, LEAST_RELOADS)
        self._clock = clock
        self._evicted: dict[str, float] = {}
        self._reloads: deque[float] = deque()
        self._told = -WINDOW_SECONDS

    def evicted(self, name: str) -> None:
        """Note an eviction."""
        now = self._clock()
        self._evicted.pop(name, None)
        self._evicted[name] = now
        for old in [key for key, when in self._evicted.items() if now - when > WINDOW_SECONDS]:
            del self._evicted[old]

    def loaded(self, name: str) -> int:
        """Note a load; return the reloads of the last minute when that is thrashing and was not told yet, else 0."""
        now, when = self._clock(), self._evicted.pop(name, None)
        if when is None or now - when > WINDOW_SECONDS:
            return 0
        self._reloads.append(now)
        while now - self._reloads[0] > WINDOW_SECONDS:
            self._reloads.popleft()
        if len(self._reloads) < self._least or now - self._told < WINDOW_SECONDS:
            return 0
        self._told = now
        return len(self._reloads)
