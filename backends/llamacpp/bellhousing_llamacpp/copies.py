"""The engine's own copies of adapters, as GGUF and by the digest of what they were made from.

llama.cpp reads every adapter anew whenever its set changes, long after the files were verified; nobody writes to these.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from bellhousing.adapters.cache import AdapterCache, Held
from bellhousing.backend import AdapterFiles
from bellhousing.errors import PreconditionFailed
from bellhousing.gguf import Header
from bellhousing.lora import CONFIG, WEIGHTS, check_files, check_gguf_adapter
from bellhousing.safetensors import read_entries
from bellhousing_llamacpp.conversion import FORMAT, PeftAdapter, convert

GGUF_SUFFIX = ".gguf"
COPY = f"adapter{GGUF_SUFFIX}"
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that stays until `release`."""

    held: Held

    @property
    def path(self) -> Path:
        """Where it is; the same for the same content."""
        return self.held.path / COPY

    def release(self) -> None:
        """Let it be removed when room is needed."""
        self.held.release()


class Copies:
    """Makes and keeps copies for one base model. `make` blocks and may be called from any thread."""

    def __init__(self, cache: AdapterCache, base: Header) -> None:
        self._cache = cache
        self._base = base

    def make(self, adapter: AdapterFiles) -> Copy:
        """Return the copy of an adapter, which fits the base model.

        Raises `PreconditionFailed`: ADAPTER_FORMAT for what llama.cpp cannot serve, ADAPTER_CHANGED for files that are
        not those of the digest; and `Overloaded`, DISK_BUDGET_EXCEEDED.
        """
        path = Path(adapter.path)
        found = [path] if path.suffix == GGUF_SUFFIX else sorted(path.glob(f"*{GGUF_SUFFIX}"))
        return self._of_gguf(adapter, found[0]) if found else self._of_peft(adapter)

    def _of_gguf(self, adapter: AdapterFiles, file: Path) -> Copy:
        check_gguf_adapter(adapter.name, file, self._base)
        return self._kept(adapter, GGUF_SUFFIX) or self._copied(adapter, file)

    def _copied(self, adapter: AdapterFiles, file: Path) -> Copy:
        with self._cache.staging() as folder:
            target = _target(folder)
            digest = hashlib.sha256()
            with file.open("rb") as source, target.open("wb") as copy:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    copy.write(chunk)
            _check_digest(adapter, digest.hexdigest())
            check_gguf_adapter(adapter.name, target, self._base)
            return Copy(self._cache.keep(folder, adapter.digest, GGUF_SUFFIX))

    def _of_peft(self, adapter: AdapterFiles) -> Copy:
        check_files(adapter)
        config = (Path(adapter.path) / CONFIG).read_bytes()
        made_from = self._made_from(config)
        return self._kept(adapter, made_from) or self._converted(adapter, config, made_from)

    def _converted(self, adapter: AdapterFiles, config: bytes, made_from: str) -> Copy:
        file = Path(adapter.path) / WEIGHTS
        try:
            entries = read_entries(file)
            weights = file.read_bytes()
        except (OSError, ValueError) as error:
            raise PreconditionFailed(f"adapter {adapter.name!r}: {error}", reason="ADAPTER_FORMAT") from error
        _check_digest(adapter, hashlib.sha256(weights).hexdigest())
        with self._cache.staging() as folder:
            target = _target(folder)
            convert(PeftAdapter(adapter.name, config, weights, entries), self._base, target)
            check_gguf_adapter(adapter.name, target, self._base)
            return Copy(self._cache.keep(folder, adapter.digest, made_from))

    def _made_from(self, config: bytes) -> str:
        """Return a digest of what a conversion depends on beside the weights."""
        base = self._base
        shapes = sorted(base.shapes.items())
        facts = json.dumps([FORMAT, base.architecture, base.layers, base.heads, base.kv_heads, shapes])
        return f"sha256:{hashlib.sha256(config + facts.encode()).hexdigest()}"

    def _kept(self, adapter: AdapterFiles, made_from: str) -> Copy | None:
        held = self._cache.find(adapter.digest, made_from)
        if held is None:
            return None
        copy = Copy(held)
        try:
            check_gguf_adapter(adapter.name, copy.path, self._base)
        except PreconditionFailed:  # the disk lost it, or it was made for another base: it is made again
            copy.release()
            self._cache.discard(adapter.digest, made_from)
            return None
        return copy


def _target(folder: Path) -> Path:
    (folder / "adapter").mkdir()
    return folder / "adapter" / COPY


def _check_digest(adapter: AdapterFiles, found: str) -> None:
    if adapter.digest != f"sha256:{found}":
        raise PreconditionFailed(
            f"adapter {adapter.name!r}: its weights changed since they were verified: expected digest"
            f" {adapter.digest or 'none'}, found sha256:{found}",
            reason="ADAPTER_CHANGED",
        )
