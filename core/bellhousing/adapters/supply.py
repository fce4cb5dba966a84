"""From a record to its files on this machine: fetched when need be, and verified each time."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bellhousing.adapters import fetching
from bellhousing.adapters.cache import AdapterCache, Held
from bellhousing.adapters.fetching import SourceRules
from bellhousing.adapters.files import Contents, Rules, Stamp, largest_file, read, verify
from bellhousing.adapters.record import AdapterRecord
from bellhousing.errors import PreconditionFailed

CONCURRENT_FETCHES = 4
MOST_FETCH_THREADS = 64
"""More than fetches: one that was given up keeps its thread until its store answers, and must not keep its place."""
MOST_LOOKED = 1024
"""Sources whose latest look is remembered: what was just registered is often loaded next, and not read again."""


@dataclass(frozen=True, slots=True)
class Supplied:
    """An adapter's files. `contents` is there when they were read for the first time; `held` when they are cached."""

    path: Path
    rules: Rules
    stamp: Stamp
    contents: Contents | None = None
    held: Held | None = None

    def release(self) -> None:
        """Let the files leave the cache when room is needed."""
        if self.held is not None:
            self.held.release()


Found = TypeVar("Found", Supplied, Supplied | None)


class Supply:
    """Gets the files of a model's adapters, from the sources that `rules` allow."""

    def __init__(self, rules: SourceRules, cache: AdapterCache) -> None:
        self._rules = rules
        self._cache = cache
        self._stamps: dict[str, Stamp] = {}
        self._looked: dict[str, Contents] = {}
        self._fetches = asyncio.Semaphore(CONCURRENT_FETCHES)
        # Of their own: a store that does not answer must not keep the threads that all else needs.
        self._threads = ThreadPoolExecutor(MOST_FETCH_THREADS, thread_name_prefix="adapter-fetch")

    @property
    def is_busy(self) -> bool:
        """Whether as many adapters are being fetched as may be at once."""
        return self._fetches.locked()

    def prepare(self) -> None:
        """Make ready to fetch, if adapters may be. Blocks. Raises `ConfigurationError` for the cache's directory."""
        if self._rules.prefixes:
            self._cache.prepare()

    def look(self, source: str) -> Contents | None:
        """Return the contents of a local source, None for one that is fetched when it is needed. Blocks.

        Raises `PreconditionFailed` for a source that is not allowed or holds no adapter.
        """
        if not fetching.is_local(source):
            fetching.check_remote(source, self._rules)
            return None
        contents = read(fetching.local_path(source, self._rules), self._rules.local())
        self._looked.pop(source, None)
        self._looked[source] = contents
        for oldest in list(self._looked)[:-MOST_LOOKED]:
            self._looked.pop(oldest, None)
        return contents

    def bytes_at(self, source: str) -> int:
        """Return the size of a local source's largest file, 0 where none can be read. Blocks."""
        if not fetching.is_local(source):
            return 0
        try:
            return largest_file(fetching.local_path(source, self._rules))
        except PreconditionFailed:
            return 0

    def path(self, source: str) -> Path:
        """Return the path of a local source. Raises `PreconditionFailed`."""
        if not fetching.is_local(source):
            raise PreconditionFailed(
                f"{source!r}: expected file:///path, found another scheme", reason="SOURCE_REFUSED"
            )
        return fetching.local_path(source, self._rules)

    def is_here(self, record: AdapterRecord) -> bool:
        """Tell whether an adapter's files should be on this machine, without reading them."""
        return fetching.is_local(record.source) or self._cache.has(record.digest, record.config_digest)

    async def obtain(self, record: AdapterRecord) -> Supplied:
        """Return the files of an adapter, which are those that were registered.

        Raises `PreconditionFailed` (ADAPTER_CHANGED, DIGEST_MISMATCH, SOURCE_GONE and what `look` raises), `Overloaded`
        (DISK_BUDGET_EXCEEDED) and `EngineUnavailable` (FETCH_FAILED). A cancelled fetch ends soon, and leaves nothing.
        """
        # In threads: an adapter may have hundreds of MB, and streams go on meanwhile.
        if fetching.is_local(record.source):
            return await asyncio.to_thread(self._local, record)
        found = await _unless_cancelled(asyncio.ensure_future(asyncio.to_thread(self._cached, record)), lambda: None)
        if found is not None:
            return found
        async with self._fetches:
            stop = threading.Event()
            fetch = asyncio.get_running_loop().run_in_executor(self._threads, self._fetched, record, stop)
            return await _unless_cancelled(fetch, stop.set)

    def forget(self, name: str) -> None:
        """Forget what was known of an adapter's files."""
        self._stamps.pop(name, None)

    def _local(self, record: AdapterRecord) -> Supplied:
        path, rules = fetching.local_path(record.source, self._rules), self._rules.local()
        return Supplied(path, rules, self._verified(record, path, rules))

    def _cached(self, record: AdapterRecord) -> Supplied | None:
        fetching.check_remote(record.source, self._rules)
        held = self._cache.find(record.digest, record.config_digest)
        if held is None:
            return None
        rules = Rules((held.path.resolve(),), self._rules.most_bytes)
        try:
            return Supplied(held.path, rules, self._verified(record, held.path, rules), held=held)
        except PreconditionFailed:  # the disk, or somebody, changed the entry: it is fetched again
            held.release()
            self._cache.discard(record.digest, record.config_digest)
            return None

    def _fetched(self, record: AdapterRecord, stop: threading.Event) -> Supplied:
        contents, held = fetching.fetch(record.source, self._cache, self._rules, stop)
        expected = (record.digest, record.config_digest)
        found = (contents.digest, contents.config_digest)
        if record.digest and (found[0] != expected[0] or (record.config_digest and found[1] != expected[1])):
            held.release()
            self._cache.discard(*found)
            raise PreconditionFailed(
                f"adapter {record.name!r}: expected digest {record.digest}, found {contents.digest} at {record.source}"
                if found[0] != expected[0]
                else f"adapter {record.name!r}: its configuration at {record.source} changed since its first fetch",
                reason="DIGEST_MISMATCH",
            )
        return Supplied(held.path, Rules((held.path.resolve(),), self._rules.most_bytes), (), contents, held)

    def _verified(self, record: AdapterRecord, path: Path, rules: Rules) -> Stamp:
        known = self._stamps.get(record.name) or self._stamp_at_registration(record)
        found = self._stamps[record.name] = verify(record, path, rules, known)
        return found

    def _stamp_at_registration(self, record: AdapterRecord) -> Stamp:
        """Return the stamp of the look that found what the record has; nothing where that is not known any more."""
        looked = self._looked.get(record.source)
        if looked is None or (looked.digest, looked.config_digest) != (record.digest, record.config_digest):
            return ()
        return looked.stamp


async def _unless_cancelled(work: asyncio.Future[Found], stop: Callable[[], None]) -> Found:
    """Wait for a thread, which cannot be cancelled: it is told to stop, and what it has by then is let go."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop()
        work.add_done_callback(_let_go)
        raise


def _let_go(work: asyncio.Future[Found]) -> None:
    """Release what a thread came to that nobody waits for; its failure interests nobody either."""
    if not work.cancelled() and work.exception() is None and (found := work.result()) is not None:
        found.release()
