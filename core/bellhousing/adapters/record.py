"""What the registry knows of an adapter, and what may be its name, its tags and its tenant."""

import re
from dataclasses import dataclass
from typing import Literal

from bellhousing.errors import BellhousingError, InvalidRequest, PreconditionFailed, Violation

AdapterState = Literal["registered", "fetching", "host", "device", "failed"]
STIRRING: frozenset[AdapterState] = frozenset({"fetching", "device", "failed"})
"""States that few adapters are in, of however many that are registered."""
STATIC_SOURCE = "engine"
"""Where an adapter comes from that the engine was started with; no URI, so none can be registered from there."""

# A name goes into addresses of engines, lists divided by commas, and terminals. It never becomes a path of ours.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]*(/[A-Za-z0-9][A-Za-z0-9._:@+-]*)*")
TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=/-]*")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MOST_NAME, MOST_TAG, MOST_TAGS, MOST_SOURCE = 128, 64, 32, 2048


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """A registered adapter of one model, as the registry keeps it.

    `digest` is of the weights and empty before they were fetched; `config_digest` is of the configuration beside them,
    empty without one. `base_digest` is the digest of the model that it was registered for. `registered` and `last_used`
    are in Unix seconds. Each change of the registry has a higher `revision`.
    """

    model: str
    name: str
    source: str
    digest: str = ""
    config_digest: str = ""
    base_model: str = ""
    base_digest: str = ""
    rank: int = 0
    target_modules: tuple[str, ...] = ()
    size_bytes: int = 0
    tags: tuple[str, ...] = ()
    tenant: str = ""
    pinned: bool = False
    registered: float = 0.0
    last_used: float = 0.0
    load_count: int = 0
    revision: int = 0

    @property
    def is_static(self) -> bool:
        """Whether the engine was started with it, so that nobody loads or unloads it."""
        return self.source == STATIC_SOURCE

    def has_weights_of(self, other: "AdapterRecord") -> bool:
        """Tell whether another record is of the same weights and configuration."""
        return (self.digest, self.config_digest) == (other.digest, other.config_digest)

    def is_same_registration(self, other: "AdapterRecord") -> bool:
        """Tell whether another record of this name is of the same registration: not removed and added since."""
        return (self.source, self.tenant, self.registered) == (other.source, other.tenant, other.registered)

    def is_visible_to(self, tenant: str | None) -> bool:
        """Tell whether a tenant may know of it; None sees all."""
        return tenant is None or not self.tenant or self.tenant == tenant


Outcome = AdapterRecord | BellhousingError
"""What became of a registration: the record as kept, or why it was refused."""
Key = tuple[str, str]
"""A model and an adapter's name."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed after a revision. With `is_whole` it is the whole registry: what is not in it is gone."""

    revision: int
    records: tuple[AdapterRecord, ...] = ()
    removed: tuple[Key, ...] = ()
    is_whole: bool = False


def check_fields(record: AdapterRecord) -> None:
    """Raise `InvalidRequest` naming each field that no adapter may have."""
    found = [
        Violation("name", f"must be {MOST_NAME} characters or fewer of {what}, found {record.name[:MOST_NAME]!r}")
        for what in ("letters, digits and ._:@+-/, each part of it beginning with a letter or digit",)
        if len(record.name) > MOST_NAME or not NAME.fullmatch(record.name)
    ]
    if not record.source or len(record.source) > MOST_SOURCE or not record.source.isprintable():
        expected = f"must be a printable URI of 1 to {MOST_SOURCE} characters"
        found.append(Violation("source", f"{expected}, found {record.source[:MOST_NAME]!r}"))
    if len(record.tenant) > MOST_NAME or not record.tenant.isprintable():
        found.append(Violation("tenant", f"must be {MOST_NAME} printable characters or fewer, found {record.tenant!r}"))
    if len(record.tags) > MOST_TAGS:
        found.append(Violation("tags", f"must be at most {MOST_TAGS}, found {len(record.tags)}"))
    found += [
        Violation("tags", f"must be {MOST_TAG} characters or fewer of letters, digits and ._:=/-, found {tag!r}")
        for tag in record.tags
        if len(tag) > MOST_TAG or not TAG.fullmatch(tag)
    ]
    if found:
        raise InvalidRequest(found)


def check_digest(digest: str) -> None:
    """Raise `InvalidRequest` for an expected digest that is none; empty is fine."""
    if digest and not DIGEST.fullmatch(digest):
        raise InvalidRequest([Violation("expected_digest", f"must be sha256: and 64 hex digits, found {digest!r}")])


def other_digest(record: AdapterRecord, expected: str) -> PreconditionFailed:
    """Return the refusal of an adapter whose weights are not those that an operator expects."""
    return PreconditionFailed(
        f"adapter {record.name!r}: expected digest {expected}, found {record.digest or 'none yet'}",
        reason="DIGEST_MISMATCH",
    )
