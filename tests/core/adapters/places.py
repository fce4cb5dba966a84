"""Adapters written for the occasion, and the parts that a model has for them, without a server."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bellhousing.adapters import AdapterCache, Adapters, Catalogue, Listeners, Location, Room, SourceRules, Supply
from bellhousing.adapters.policies import PolicyName
from bellhousing.backend import Backend
from bellhousing.testing.probe import build
from bellhousing_simulator import SimulatorBackend

MODEL = "sim"


def write(root: Path, name: str, weights: bytes | None = None, **config: Any) -> str:
    """Write an adapter below a root and return its source."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(weights if weights is not None else name.encode())
    told = {"peft_type": "LORA", "r": 8, "target_modules": ["q_proj"], "base_model_name_or_path": "org/base", **config}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    return folder.as_uri()


@dataclass
class Told:
    """What the listeners of a model's adapters heard."""

    changes: list[tuple[str, str]] = field(default_factory=list)
    thrashing: list[int] = field(default_factory=list)


@dataclass
class Place:
    """The adapters of one model over a started simulator."""

    adapters: Adapters
    catalogue: Catalogue
    backend: Backend
    told: Told


@asynccontextmanager
async def placed(
    root: Path,
    *,
    url: str = "sqlite://",
    room: Room | None = None,
    policy: PolicyName = "lru",
    sources: tuple[str, ...] = (),
    cache_bytes: int = 2 << 20,
    most_bytes: int = 1 << 20,
    static: dict[str, str] | None = None,
    base_digest: str = "",
    replica: str = "one",
    backend: type[SimulatorBackend] = SimulatorBackend,
) -> AsyncIterator[Place]:
    """Give a model's adapters, from below `root`, for the body."""
    catalogue = Catalogue(Location(url, is_shared=url != "sqlite://"), replica, 0.05)
    cache = AdapterCache(root.parent / "cache", cache_bytes)
    rules = SourceRules((root,), sources, most_bytes)  # pytest's directories are no links
    told, engine = Told(), build(backend, {}, None)
    listeners = Listeners(lambda name, change, _: told.changes.append((name, change)), thrashing=told.thrashing.append)
    adapters = Adapters(
        MODEL, catalogue, Supply(rules, cache), room or Room(8, patience=0.1), policy, lambda: engine, listeners
    )
    catalogue.held = lambda: [(MODEL, name) for name in adapters.resident()]
    await engine.start(lambda _: None)
    try:
        await adapters.engine_started(base_digest, static or {})
        yield Place(adapters, catalogue, engine, told)
    finally:
        await adapters.close()
        await catalogue.close()
        await engine.stop()


def left_in_the_cache(folder: Path) -> list[Path]:
    """Return what the cache of `placed(folder / ...)` holds: whole entries and what is on its way."""
    return [path for part in ("entries", "staging") for path in sorted((folder / "cache" / part).glob("*"))]
