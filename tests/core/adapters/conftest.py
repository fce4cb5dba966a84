"""Databases for the registry: SQLite always, and a real PostgreSQL where one is installed."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from bellhousing.process.ports import free_port


def _program(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server that ends with the tests. Where none is installed they skip, and fail in CI."""
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    if not initdb or not pg_ctl:
        _absent("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(prefix="bellhousing-postgresql-") as folder:
        account = _account()
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
        port, data = free_port(), f"{folder}/data"

        def run(*command: str) -> None:
            subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=60, **user)  # type: ignore[call-overload]

        run(initdb, "-D", data, "-U", "tester", "-A", "trust", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        run(pg_ctl, "-D", data, "-o", options, "-w", "-l", f"{folder}/log", "start")
        try:
            yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
        finally:
            run(pg_ctl, "-D", data, "-m", "immediate", "-w", "stop")


def _account() -> pwd.struct_passwd | None:
    """Return the account that PostgreSQL runs as: it refuses to run as root. None: our own."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        _absent("PostgreSQL refuses to run as root, and there is no account for it")


def _absent(reason: str) -> NoReturn:
    if "BELLHOUSING_CI_RUN" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty registry, on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry' / 'adapters.db'}"
    found = str(request.getfixturevalue("postgresql"))
    _empty(found)
    return found


def _empty(url: str) -> None:
    from sqlalchemy import create_engine

    from bellhousing.adapters import schema

    engine = create_engine(url)
    schema.metadata.drop_all(engine)
    engine.dispose()
