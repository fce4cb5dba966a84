"""An adapter as it is now, which ones are wanted, and what strangers are told of a failure."""

from collections.abc import Collection
from dataclasses import dataclass

from bellhousing.adapters.record import AdapterRecord, AdapterState
from bellhousing.errors import BellhousingError, EngineFault, NotFound


@dataclass(frozen=True, slots=True)
class AdapterView:
    """An adapter as it is now: its record, its place, the requests that use it here, and the replicas that hold it."""

    record: AdapterRecord
    state: AdapterState
    detail: str = ""
    leases: int = 0
    replicas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """Which adapters are wanted; an empty field is any. `tags` must all be there."""

    prefix: str = ""
    states: Collection[AdapterState] = ()
    tenant: str = ""
    tags: Collection[str] = ()
    base_model: str = ""

    def takes(self, view: AdapterView) -> bool:
        """Tell whether an adapter is wanted."""
        return (not self.states or view.state in self.states) and self.takes_record(view.record)

    def takes_record(self, record: AdapterRecord) -> bool:
        """Tell whether an adapter is wanted, whatever its state."""
        return (
            (not self.tags or set(self.tags).issubset(record.tags))
            and (not self.tenant or record.tenant == self.tenant)
            and (not self.base_model or record.base_model == self.base_model)
            and record.name.startswith(self.prefix)
        )


def without_details(name: str, error: BellhousingError) -> BellhousingError:
    """Return the failure of an adapter's load without its message, which may name the server's files and addresses.

    Kind, reason and when to try again stay.
    """
    if isinstance(error, NotFound):
        return NotFound("adapter", name)
    kind = type(error) if type(error).__init__ is BellhousingError.__init__ else EngineFault
    return kind(
        f"adapter {name!r} could not be loaded ({error.reason}); who operates this server can see why",
        reason=error.reason,
        backend=error.backend,
        retry_after=error.retry_after,
    )
