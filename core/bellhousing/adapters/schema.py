"""The tables of the registry. A change of them raises `VERSION` and adds a step to `MIGRATIONS`."""

from collections.abc import Callable, Mapping

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    select,
)

from bellhousing.errors import ConfigurationError

VERSION = 1
MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {}
"""What brings a registry of version n, the key, to n + 1."""

metadata = MetaData()

registry = Table(
    "registry",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("schema_version", Integer, nullable=False),
    # Every writer first raises it, which locks the row: so writers come one after another, on every database, and a
    # reader that has seen revision n has seen all before it.
    Column("revision", BigInteger, nullable=False),
    Column("forgotten_revision", BigInteger, nullable=False),  # removals up to here are no longer listed
)

adapters = Table(
    "adapters",
    metadata,
    Column("model", String(128), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("source", Text, nullable=False),
    Column("digest", String(80), nullable=False),
    Column("config_digest", String(80), nullable=False),
    Column("base_model", Text, nullable=False),
    Column("base_digest", String(80), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("target_modules", Text, nullable=False),  # a JSON list, as are the tags
    Column("size_bytes", BigInteger, nullable=False),
    Column("tags", Text, nullable=False),
    Column("tenant", String(128), nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("registered", Double, nullable=False),
    Column("last_used", Double, nullable=False),
    Column("load_count", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index("adapters_revision", "revision"),
)

removals = Table(
    "removals",
    metadata,
    Column("model", String(128), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("removed", Double, nullable=False),
    Index("removals_revision", "revision"),
)

replicas = Table(
    "replicas",
    metadata,
    Column("replica", String(128), primary_key=True),
    Column("until", Double, nullable=False),  # it counts as gone afterwards, unless it was heard of again
)

residents = Table(
    "residents",
    metadata,
    Column("replica", String(128), primary_key=True),
    Column("model", String(128), primary_key=True),
    Column("name", String(128), primary_key=True),
)


def prepare(connection: Connection) -> None:
    """Make the tables where there are none, or bring them to this version.

    Raises `ConfigurationError` for a registry of a later version.
    """
    metadata.create_all(connection)
    found = connection.execute(select(registry.c.schema_version)).scalar_one_or_none()
    if found is None:
        connection.execute(registry.insert().values(id=1, schema_version=VERSION, revision=0, forgotten_revision=0))
        return
    if found > VERSION:
        raise ConfigurationError(
            f"the adapter registry has schema version {found}, expected at most {VERSION}",
            reason="REGISTRY_TOO_NEW",
            hint="A later release wrote it; run that one, or name another registry.",
        )
    for version in range(found, VERSION):
        MIGRATIONS[version](connection)
        connection.execute(registry.update().values(schema_version=version + 1))
