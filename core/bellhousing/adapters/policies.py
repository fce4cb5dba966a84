"""Which adapter makes room for another. docs/adr/0006 tells which is the default and why.

An adapter that is wanted is always loaded, so no policy may refuse one; each only names who goes. Adapters in use or
pinned are never offered.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from typing import Literal

PolicyName = Literal["lru", "lfu", "s3-fifo", "w-tinylfu"]
MOST_FREQUENCY = 3
"""S3-FIFO counts uses with two bits."""
SAMPLE_USES = 10
"""TinyLFU halves its counts after so many uses for each slot, so that what was popular once is forgotten."""
HISTORY = 64
"""Counts are kept for so many adapters for each slot: those beside the device tell who is worth bringing back."""


class Policy(ABC):
    """An order of eviction for a device of `slots`. Names are adapters; each `brought` is followed by one `left`."""

    def __init__(self, slots: int) -> None:
        self.slots = slots

    @abstractmethod
    def used(self, name: str) -> None:
        """Note a request for an adapter, whether it is on the device or not."""

    @abstractmethod
    def brought(self, name: str) -> None:
        """Note that an adapter is on the device now."""

    @abstractmethod
    def left(self, name: str) -> None:
        """Note that an adapter left the device, by eviction or not."""

    @abstractmethod
    def victim(self, candidates: Collection[str]) -> str:
        """Return who of the candidates goes; there is at least one, and all of them were brought."""


class Lru(Policy):
    """The least recently used goes."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self._order: OrderedDict[str, None] = OrderedDict()

    def used(self, name: str) -> None:
        """See `Policy`."""
        if name in self._order:
            self._order.move_to_end(name)

    def brought(self, name: str) -> None:
        """See `Policy`."""
        self._order[name] = None
        self._order.move_to_end(name)

    def left(self, name: str) -> None:
        """See `Policy`."""
        self._order.pop(name, None)

    def victim(self, candidates: Collection[str]) -> str:
        """See `Policy`."""
        return next(name for name in self._order if name in candidates)


class Counts:
    """How often each adapter was wanted, on the device or not, halved from time to time.

    The counter of TinyLFU (Einziger, Friedman, Manes, 2017), exact where that is a sketch: adapters are thousands, not
    billions.
    """

    def __init__(self, slots: int) -> None:
        self._counts: dict[str, int] = {}
        self._left = self._sample = SAMPLE_USES * max(slots, HISTORY)
        self._most = HISTORY * max(slots, HISTORY)

    def add(self, name: str) -> None:
        """Count a use."""
        self._counts[name] = self._counts.get(name, 0) + 1
        self._left -= 1
        if self._left <= 0 or len(self._counts) > self._most:
            self._counts = {key: count // 2 for key, count in self._counts.items() if count > 1}
            self._left = self._sample

    def of(self, name: str) -> int:
        """Return the count of an adapter."""
        return self._counts.get(name, 0)


class Lfu(Lru):
    """The least often used goes, of those the least recently used. Counts outlive a stay on the device, and age."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self._counts = Counts(slots)

    def used(self, name: str) -> None:
        """See `Policy`."""
        super().used(name)
        self._counts.add(name)

    def victim(self, candidates: Collection[str]) -> str:
        """See `Policy`."""
        return min((name for name in self._order if name in candidates), key=self._counts.of)


class S3Fifo(Policy):
    """Three queues (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023).

    New adapters wait in a small queue and go soon unless used again; who comes back soon after enters the main queue.
    """

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self._small: OrderedDict[str, None] = OrderedDict()
        self._main: OrderedDict[str, None] = OrderedDict()
        self._ghosts: OrderedDict[str, None] = OrderedDict()
        self._uses: dict[str, int] = {}
        self._small_size = max(1, slots // 10)

    def used(self, name: str) -> None:
        """See `Policy`."""
        if name in self._uses:
            self._uses[name] = min(MOST_FREQUENCY, self._uses[name] + 1)

    def brought(self, name: str) -> None:
        """See `Policy`."""
        is_back = name in self._ghosts
        self._ghosts.pop(name, None)
        (self._main if is_back else self._small)[name] = None
        self._uses[name] = 0

    def left(self, name: str) -> None:
        """See `Policy`."""
        if name in self._small:
            self._ghosts[name] = None
            while len(self._ghosts) > self.slots:
                self._ghosts.popitem(last=False)
        self._small.pop(name, None)
        self._main.pop(name, None)
        self._uses.pop(name, None)

    def victim(self, candidates: Collection[str]) -> str:
        """See `Policy`."""
        while True:
            small = self._first(self._small, candidates)
            main = self._first(self._main, candidates)
            if small and (len(self._small) >= self._small_size or not main):
                if not self._uses[small]:
                    return small
                del self._small[small]
                self._main[small] = None
                self._uses[small] = 0
            else:
                if not self._uses[main]:
                    return main
                self._uses[main] -= 1
                self._main.move_to_end(main)

    @staticmethod
    def _first(queue: OrderedDict[str, None], candidates: Collection[str]) -> str:
        return next((name for name in queue if name in candidates), "")


class WTinyLfu(Policy):
    """A small window in LRU order before a main part, whose entrants must be wanted more often than who goes for them.

    Source: Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache admission policy", ACM ToS 2017.
    """

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self._window: OrderedDict[str, None] = OrderedDict()
        self._main: OrderedDict[str, None] = OrderedDict()
        self._counts = Counts(slots)
        self._window_size = max(1, slots // 100)

    def used(self, name: str) -> None:
        """See `Policy`."""
        self._counts.add(name)
        for part in (self._window, self._main):
            if name in part:
                part.move_to_end(name)

    def brought(self, name: str) -> None:
        """See `Policy`."""
        self._window[name] = None
        while len(self._window) > self._window_size:
            moved, _ = self._window.popitem(last=False)
            self._main[moved] = None

    def left(self, name: str) -> None:
        """See `Policy`."""
        self._window.pop(name, None)
        self._main.pop(name, None)

    def victim(self, candidates: Collection[str]) -> str:
        """See `Policy`."""
        entrant = next(self._of(self._window, candidates), "")
        settled = next(self._of(self._main, candidates), "")
        if not entrant or not settled:
            return entrant or settled
        return entrant if self._counts.of(entrant) <= self._counts.of(settled) else settled

    @staticmethod
    def _of(part: OrderedDict[str, None], candidates: Collection[str]) -> Iterator[str]:
        return (name for name in part if name in candidates)


POLICIES: dict[PolicyName, Callable[[int], Policy]] = {
    "lru": Lru, "lfu": Lfu, "s3-fifo": S3Fifo, "w-tinylfu": WTinyLfu
}  # fmt: skip
