"""SIGKILL at random points: what was acknowledged is there, what was not is there whole or not at all."""

import random
import select
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bellhousing.adapters.cache import AdapterCache, key
from bellhousing.adapters.files import Rules, read
from bellhousing.adapters.record import AdapterRecord
from bellhousing.adapters.store import Store

LEAST_OPERATIONS = 200
SEED = 20261127


class Expected:
    """What the registry must hold: for each name the values that are possible, None for no such adapter.

    A value is whether it is pinned. There are two only for the operation that was under way.
    """

    def __init__(self) -> None:
        self.possible: dict[str, set[bool | None]] = {}
        self.done = 0

    def note(self, line: str) -> None:
        """Take a line of the process."""
        told, what, name, *_ = line.split()
        before = self.possible.get(name, {None})
        after = {_after(what, value) for value in before}
        if told == "begin":
            self.possible[name] = before | after
            self._before = before
        elif told == "done":
            self.possible[name] = {_after(what, value) for value in self._before}
            self.done += 1
        else:
            self.possible[name] = self._before
            self.done += 1

    def check(self, records: tuple[AdapterRecord, ...]) -> None:
        """Fail unless these are possible; from now on they are what is."""
        found = {record.name: record.pinned for record in records}
        for name, possible in self.possible.items():
            assert found.get(name) in possible, f"{name}: found {found.get(name)}, possible {possible}"
        assert found.keys() <= self.possible.keys()
        self.possible = {name: {found.get(name)} for name in self.possible}


def _after(what: str, value: bool | None) -> bool | None:
    if what == "put":
        return value or False
    if what == "remove":
        return None
    if what in ("pin", "free") and value is not None:
        return what == "pin"
    return value


def run_and_kill(url: str, folder: Path, seed: int, after: int, expected: Expected) -> None:
    """Let a process work and kill it in the middle of an operation, some time after the given number of them."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.core.adapters.crashing", url, str(folder), str(seed)],
        stdout=subprocess.PIPE, text=True, bufsize=1,
    ) as process:  # fmt: skip
        assert process.stdout
        for _ in range(2 * after + 1):
            expected.note(process.stdout.readline())
        select.select([], [], [], random.Random(seed).random() * 0.004)
        process.send_signal(signal.SIGKILL)
        for line in process.stdout:
            if line.endswith("\n"):
                expected.note(line)


@pytest.mark.timeout(110)
def test_a_registry_whose_process_is_killed_at_random_points_of_200_operations_stays_consistent(tmp_path: Path) -> None:
    file, folder = tmp_path / "adapters.db", tmp_path / "cache"
    url, draw, expected, kills = f"sqlite:///{file}", random.Random(SEED), Expected(), 0
    while expected.done < LEAST_OPERATIONS or kills < 10:
        run_and_kill(url, folder, draw.randrange(10**6), draw.randrange(5, 35), expected)
        kills += 1
        verify(url, file, folder, expected)
    assert kills >= 10


def verify(url: str, file: Path, folder: Path, expected: Expected) -> None:
    """Fail unless the registry and the cache are consistent."""
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    store = Store(url)
    changes = store.changes_since(-1)
    expected.check(changes.records)
    for record in changes.records:
        assert (record.source, record.digest) == (f"file:///{record.name}", f"sha256:{record.name}")
        assert record.tags == (record.name, "all")
    revisions = [record.revision for record in changes.records]
    assert len(set(revisions)) == len(revisions)
    assert max(revisions, default=0) <= changes.revision
    store.put_all([AdapterRecord("other", "alive", "file:///alive")])
    assert store.remove("other", "alive")
    store.close()
    entries = list((folder / "entries").iterdir()) if (folder / "entries").is_dir() else []
    for entry in entries:
        contents = read(entry, Rules((entry.resolve(),), 1 << 20))
        assert entry.name == key(contents.digest, contents.config_digest)
    assert AdapterCache(folder, 2000).used_bytes() <= 2000
