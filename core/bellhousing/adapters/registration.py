"""What an operator says of an adapter, and the record that it becomes."""

import time
from dataclasses import dataclass, replace

from bellhousing.adapters.files import Contents
from bellhousing.adapters.record import AdapterRecord, check_digest, check_fields, other_digest

DESCRIBED = ("digest", "config_digest", "base_model", "rank", "target_modules", "size_bytes")
"""Fields of a record that its files tell."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What an operator says of an adapter. With `expected_digest` other weights are refused."""

    name: str
    source: str
    tenant: str = ""
    pinned: bool = False
    tags: tuple[str, ...] = ()
    expected_digest: str = ""

    def record(self, model: str, base_digest: str) -> AdapterRecord:
        """Return what is known before the source was looked at. Raises `InvalidRequest`."""
        record = AdapterRecord(
            model,
            self.name,
            self.source,
            base_digest=base_digest,
            tenant=self.tenant,
            pinned=self.pinned,
            tags=tuple(sorted(set(self.tags))),
            registered=time.time(),
        )
        check_fields(record)
        check_digest(self.expected_digest)
        return record


def described(asked: AdapterRecord, contents: Contents | None, expected_digest: str) -> AdapterRecord:
    """Return a record with what its files tell; what is fetched later has the digest that is expected of it.

    Raises `PreconditionFailed` for other weights than those expected.
    """
    if contents is None:
        return replace(asked, digest=expected_digest)
    record = replace(asked, **{name: getattr(contents, name) for name in DESCRIBED})
    if expected_digest and record.digest != expected_digest:
        raise other_digest(record, expected_digest)
    return record
