"""What the checks that measure have in common in a run: what the operator declares, and what several of them need."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.slo import Slo
from bellhousing_conformance.verdict import Row, Tier

SOAK_SECONDS: Mapping[Tier, float] = {"smoke": 3.0, "standard": 60.0, "full": 3600.0}


@dataclass(slots=True)
class Bench:
    """Settings, and results that are measured once in a run.

    `slo` are the declared objectives. `capacity` is in requests a second, of the slowest target where several are
    compared at one load; it is measured where none is told. `native` is the engine's own API, for the abstraction tax.
    `soak_seconds` is how long a soak lasts, the tier's own unless told.

    `floor` has the medians on a server that does nothing, by metric, and the rate at which they were measured; `soak`
    the rows of the soak, which the checks of that profile share.
    """

    slo: Slo | None = None
    capacity: float | None = None
    native: Endpoint | None = None
    soak_seconds: float | None = None
    floor: dict[str, float] | None = None
    floor_rate: float = 0.0
    soak: list[Row] = field(default_factory=list)
