"""A check: one async function in a file of its own, and what is declared of it."""

import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2

from bellhousing.v1 import admin_pb2, discovery_pb2, inference_pb2
from bellhousing_conformance import checks
from bellhousing_conformance.judges import Judge, all_hold
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.stats import ALPHAS
from bellhousing_conformance.targets.hooks import HookName
from bellhousing_conformance.verdict import TIERS, Tier

Requirement = Literal["MUST", "SHOULD"]
Observe = Callable[[Probe], Awaitable[None]]

PROFILES = (
    "core",
    "streaming",
    "sampling",
    "logprobs",
    "stop",
    "unicode",
    "cancel",
    "backpressure",
    "errors",
    "adapters",
    "tensor-parallel",
    "batching",
    "determinism",
    "metrics",
    "lifecycle",
    "equivalence",
    "latency",
    "throughput",
    "soak",
)
"""The profiles, in the order in which they run."""

CONFORMANT = ("core", "streaming", "stop", "unicode", "cancel", "errors", "lifecycle")
"""A target is conformant when it passes every MUST of these; the others are claimed separately."""

FILES = {file.DESCRIPTOR.name for file in (inference_pb2, discovery_pb2, admin_pb2, health_pb2)}
"""The files of the contract: a clause lies in one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What is declared of a check, and its function.

    `clause` is the full name of a message, field, enum, service or method of the contract. `needs` are paths of
    capabilities (see `support`): a target that declares one absent must be seen to reject it, and then the check is
    NOT_SUPPORTED. A `reference` check is NOT_RUN where no reference is known; a
    `paired` one observes two targets, which its judge compares (see `against`). `finds` is the smallest
    defect that it is made to detect. `seconds` bounds one attempt at standard size; an `alone` check measures time or
    disturbs others, so that nothing may run beside it.
    """

    id: str
    title: str
    clause: str
    profile: str
    finds: str
    observe: Observe = field(repr=False)
    requirement: Requirement = "MUST"
    tier: Tier = "smoke"
    needs: tuple[str, ...] = ()
    hooks: tuple[HookName, ...] = ()
    reference: bool = False
    paired: bool = False
    judge: Judge = field(default=all_hold, repr=False)
    statistic: str = "zero failures in n; 95 % bound 3/n"
    two_stage: bool = False
    seconds: float = 180.0
    alone: bool = False

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"check {self.id}: expected a profile among {', '.join(PROFILES)}, found {self.profile!r}")
        clause_file(self.clause)

    @property
    def order(self) -> tuple[int, str]:
        """Where it comes in a run: by profile, then by id."""
        return PROFILES.index(self.profile), self.id

    @property
    def levels(self) -> tuple[float, ...]:
        """The level of significance of each attempt that it may take."""
        return ALPHAS if self.two_stage else ALPHAS[:1]

    def is_in(self, tier: Tier) -> bool:
        """Tell whether a run of this tier has the check: a tier has the checks of the smaller ones."""
        return TIERS.index(self.tier) <= TIERS.index(tier)


def check(id: str, **declared: object) -> Callable[[Observe], Check]:  # noqa: A002 - what the catalogue calls it
    """Make a check of the function below; the keywords are the fields of `Check`."""
    return lambda observe: Check(id=id, observe=observe, **declared)  # type: ignore[arg-type]


def clause_file(clause: str) -> str:
    """Return the file of the contract that holds a clause. Raises `ValueError` for a name that none has."""
    pool: Any = descriptor_pool.Default()
    finders = (
        pool.FindMessageTypeByName,
        pool.FindFieldByName,
        pool.FindServiceByName,
        pool.FindMethodByName,
        pool.FindEnumTypeByName,
    )
    for find in finders:
        try:
            found = find(clause)
        except KeyError:
            continue
        owner = getattr(found, "file", None) or found.containing_service.file
        if owner.name in FILES:
            return str(owner.name)
    raise ValueError(f"clause {clause!r}: expected a message, field, enum, service or method of the contract")


def catalogue() -> list[Check]:
    """Return every check of the package `checks`, in the order of a run. Raises `ValueError` for an id used twice."""
    found: dict[str, Check] = {}
    for module in pkgutil.walk_packages(checks.__path__, f"{checks.__name__}."):
        for value in vars(import_module(module.name)).values():
            if not isinstance(value, Check):
                continue
            if value.id in found:
                raise ValueError(f"check {value.id} is defined twice, the second time in {module.name}")
            found[value.id] = value
    return sorted(found.values(), key=lambda each: each.order)
