"""What the machine does meanwhile, and what a server uses of it."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STAT, PRESSURE = Path("/proc/stat"), Path("/proc/pressure/cpu")
STEAL_FIELD = 7


@dataclass(frozen=True, slots=True)
class Ticks:
    """The processors' time so far, in ticks of the kernel: all of it, and what a hypervisor gave to others."""

    total: int
    stolen: int


def ticks() -> Ticks | None:
    """Return the ticks so far (proc(5)); None where the system does not tell."""
    try:
        fields = [int(each) for each in STAT.read_text().partition("\n")[0].split()[1:]]
    except (OSError, ValueError):
        return None
    if len(fields) <= STEAL_FIELD:
        return None
    # Guests are counted in user time already.
    return Ticks(sum(fields[: STEAL_FIELD + 1]), fields[STEAL_FIELD])


def steal(before: Ticks | None, after: Ticks | None) -> float | None:
    """Return the share of the time between that was stolen; None where the system does not tell."""
    if before is None or after is None or after.total <= before.total:
        return None
    return (after.stolen - before.stolen) / (after.total - before.total)


def pressure() -> float | None:
    """Return the share of the last 10 s in which something waited for a processor; None where the system does not tell.

    It counts what is measured, too, so that it is told and decides nothing.
    """
    with suppress(OSError, ValueError, IndexError):
        return float(PRESSURE.read_text().split("avg10=")[1].split()[0]) / 100
    return None


class Meter:
    """The processor time of a server and all that it has started, in seconds.

    What a process has used counts as long as it lives: engines keep theirs over a comparison.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def cpu_seconds(self) -> float | None:
        """Return the time so far; None when the server has ended."""
        import psutil

        try:
            return sum(_used(process) for process in self._family())
        except psutil.NoSuchProcess:
            return None

    def _family(self) -> Iterator[Any]:
        import psutil

        root = psutil.Process(self._pid)
        yield root
        yield from root.children(recursive=True)


def _used(process: Any) -> float:
    import psutil

    with suppress(psutil.NoSuchProcess):  # it ended meanwhile
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
