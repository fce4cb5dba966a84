"""What is on the device, on its way there and on its way off it, and who makes room for another."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import NoReturn

from bellhousing.adapters.claims import Stay, Wait
from bellhousing.adapters.policies import Policy
from bellhousing.adapters.record import AdapterRecord
from bellhousing.errors import Overloaded

RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Room:
    """What the device may hold, and how many seconds a wanted adapter waits for popular ones. None is no bound."""

    slots: int
    most_bytes: int | None = None
    patience: float = 2.0


class Places:
    """The adapters on a device of at most `room`: `stays` are on it, some of them `leaving`, and `coming` are loaded.

    `current` returns the record by name, None once it was removed.
    """

    def __init__(self, room: Room, policy: Policy, current: Callable[[str], AdapterRecord | None]) -> None:
        self.stays: dict[str, Stay] = {}
        self.coming: dict[str, Wait] = {}
        self.leaving: set[str] = set()
        self._room = room
        self._policy = policy
        self._current = current

    def names(self) -> list[str]:
        """Return the names whose adapters of now are on the device, sorted."""
        return sorted(n for n, stay in self.stays.items() if n not in self.leaving and not self.is_gone(stay.record))

    def holding(self, record: AdapterRecord) -> Stay | None:
        """Return the stay that has the weights of a record; None when there is none, or it is leaving."""
        stay = self.stays.get(record.name)
        return stay if stay is not None and record.name not in self.leaving and stay.matches(record) else None

    def is_gone(self, record: AdapterRecord) -> bool:
        """Tell whether what is on the device was removed from the registry, or has other weights there."""
        now = self._current(record.name)
        return not record.is_static and (now is None or not record.has_weights_of(now))

    def has_gone(self) -> bool:
        """Tell whether anything on the device or on its way there is no longer registered."""
        records = [stay.record for stay in self.stays.values()] + [wait.record for wait in self.coming.values()]
        return any(map(self.is_gone, records))

    def unused_and_gone(self) -> list[Stay]:
        """Return what is no longer registered and used by nobody."""
        idle = (stay for name, stay in self.stays.items() if stay.is_idle and name not in self.leaving)
        return [stay for stay in idle if self.is_gone(stay.record)]

    def victims(self, record: AdapterRecord) -> list[Stay] | None:
        """Return who must go to make room for an adapter; None when too few can."""
        coming = {name: wait.record for name, wait in self.coming.items() if name != record.name}
        staying = {n: s for n, s in self._others() if n not in self.leaving and n not in coming}
        gone, replaced = list[Stay](), staying.pop(record.name, None)
        if replaced is not None:
            if not replaced.is_idle:
                return None
            gone.append(replaced)
        idle: set[str] | None = None
        while not self._fits(record, [*coming.values(), *(stay.record for stay in staying.values())]):
            if idle is None:
                idle = {name for name, stay in staying.items() if stay.is_idle and not self._is_pinned(stay)}
            if not idle:
                return None
            name = self._policy.victim(idle)
            idle.discard(name)
            gone.append(staying.pop(name))
        return gone

    def can_make_room(self, record: AdapterRecord) -> bool:
        """Tell whether there is room for an adapter once others are idle.

        It is not so when requests still use other weights of its name, or when what is pinned leaves too little.
        """
        replaced = self.stays.get(record.name)
        return (replaced is None or replaced.is_idle) and self._fits(record, self._pinned(record))

    def check_room(self, record: AdapterRecord) -> None:
        """Raise `Overloaded` when what is pinned leaves too little room for an adapter."""
        if self._room.most_bytes is None and len(self.stays) < self._room.slots:
            return
        pinned = self._pinned(record)
        if not self._fits(record, pinned):
            self.refuse(record, pinned)

    def refuse(self, record: AdapterRecord, others: Iterable[AdapterRecord] | None = None) -> NoReturn:
        """Raise `Overloaded`: `others`, or all that are on the device, leave too little room for an adapter."""
        held = [stay.record for _, stay in self._others()] if others is None else list(others)
        text = f"all {self._room.slots} adapters on the device are pinned or in use"
        if len(held) < self._room.slots and self._room.most_bytes is not None:
            text = (
                f"adapter {record.name!r} has {record.size_bytes} bytes and does not fit beside"
                f" {sum(map(_size, held))} that are pinned or in use: adapter_bytes is {self._room.most_bytes}"
            )
        raise Overloaded(text, reason="ADAPTER_SLOTS_FULL", retry_after=RETRY_SECONDS)

    def to_close(self, wanted: Collection[str]) -> Stay | None:
        """Return who should take no new requests, so that it makes room; None while another such one is in use.

        What has been replaced or removed in the registry takes none anyway, nor does whose name is `wanted` anew.
        """
        staying = {n: s for n, s in self._others() if n not in self.leaving}
        if any(stay.is_closed and not stay.is_idle for stay in staying.values()):
            return None
        open_ones = {n for n, s in staying.items() if not (s.is_closed or n in wanted or self._is_pinned(s))}
        open_ones -= {name for name in open_ones if self.is_gone(staying[name].record)}
        return self.stays[self._policy.victim(open_ones)] if open_ones else None

    def _others(self) -> list[tuple[str, Stay]]:
        """Return what takes of the room: the engine has its own adapters beside it."""
        return [(name, stay) for name, stay in self.stays.items() if not stay.record.is_static]

    def _pinned(self, record: AdapterRecord) -> list[AdapterRecord]:
        """Return what is pinned and would be beside an adapter."""
        pinned = [stay.record for stay in self.stays.values() if self._is_pinned(stay)]
        return [each for each in pinned if each.name != record.name and not each.is_static]

    def _fits(self, record: AdapterRecord, others: list[AdapterRecord]) -> bool:
        if len(others) + 1 > self._room.slots:
            return False
        most = self._room.most_bytes
        # An adapter larger than the bound is alone.
        return most is None or not others or sum(map(_size, others)) + record.size_bytes <= most

    def _is_pinned(self, stay: Stay) -> bool:
        now = self._current(stay.record.name)
        return now is not None and now.pinned and stay.matches(now)


def _size(record: AdapterRecord) -> int:
    return record.size_bytes
