"""Pulling from a registry that we run ourselves, by the real Ollama."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing.events import Progress
from bellhousing.testing.probe import build, probing
from bellhousing_ollama import OllamaBackend
from tests.backends.ollama.conftest import EXECUTABLE, FRANCE, options
from tests.engines.server import Answer, Asked, Pause, Steps, as_json, listening, whole

pytestmark = [pytest.mark.engine, pytest.mark.asyncio, pytest.mark.timeout(300)]
PIECE = 1 << 20


class Registry:
    """One model, `library/m:latest`. With `stall` its weights stop coming after a piece."""

    def __init__(self, weights: bytes, *, stall: bool = False) -> None:
        self._stall = stall
        config = {"model_format": "gguf", "model_family": "llama", "model_families": ["llama"], "file_type": "Q4_1"}
        self._blobs = {digest(data): data for data in (weights, json.dumps(config).encode())}
        model, described = self._blobs
        self._manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": self._layer("application/vnd.docker.container.image.v1+json", described),
            "layers": [self._layer("application/vnd.ollama.image.model", model)],
        }
        self.asked_for_weights = 0

    async def __call__(self, asked: Asked) -> Answer:
        """Answer as a registry does."""
        if asked.path == "/v2/library/m/manifests/latest":
            return as_json(self._manifest)
        data = self._blobs.get(asked.path.rpartition("/")[2])
        if data is None:
            return whole(b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', "application/json", status=404)
        if asked.method == "HEAD":
            return Answer(lambda: self._steps(b""), headers={"content-length": str(len(data))})
        if not asked.path.startswith("/files/"):
            # Ollama takes blobs only from another host than the registry's, which sends it there.
            port = asked.headers["host"].rpartition(":")[2]
            there = {"location": f"http://localhost:{port}/files/{digest(data)}"}
            return Answer(lambda: self._steps(b""), 307, there, 0)
        self.asked_for_weights += len(data) > PIECE
        wanted = asked.headers.get("range", "")
        first, last = wanted.removeprefix("bytes=").split("-") if wanted else ("0", "")
        part = data[int(first) : int(last) + 1 if last else len(data)]
        headers = {"content-range": f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"} if wanted else {}
        return Answer(lambda: self._steps(part), 206 if wanted else 200, headers, len(part))

    async def _steps(self, part: bytes) -> Steps:
        for start in range(0, len(part), PIECE):
            yield part[start : start + PIECE]
            if self._stall and len(part) > PIECE:
                yield Pause(None)

    def _layer(self, kind: str, name: str) -> dict[str, Any]:
        return {"mediaType": kind, "digest": name, "size": len(self._blobs[name])}


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def pulling(store: Path, url: str, model: str = "m") -> dict[str, Any]:
    return options(store, pull=f"{url}/library/{model}:latest", pull_insecure=True)


@pytest.fixture(scope="module")
def weights(model_path: Path) -> bytes:
    """The real model."""
    return model_path.read_bytes()


def manifests(store: Path) -> list[Path]:
    return [file for file in store.glob("manifests/**/*") if file.is_file()]


async def test_a_model_is_pulled_served_and_not_pulled_again(weights: bytes, tmp_path: Path) -> None:
    registry = Registry(weights)
    async with listening(registry) as server:
        async with probing(OllamaBackend, pulling(tmp_path, server.url), None, FRANCE, 60.0) as probe:
            assert (await probe.run(probe.request(max_tokens=3))).text().startswith(b" Paris")
            assert probe.supports("chat")
        asked = registry.asked_for_weights
        async with probing(OllamaBackend, pulling(tmp_path, server.url), None, FRANCE, 60.0):
            pass
    assert registry.asked_for_weights == asked > 0


async def test_a_model_that_the_registry_has_not_is_told(tmp_path: Path) -> None:
    async with listening(Registry(bytes(2 * PIECE))) as server:
        backend = build(OllamaBackend, pulling(tmp_path, server.url, "absent"), None)
        with pytest.raises(ConfigurationError, match=r"options.pull .*absent") as caught:
            await backend.start(lambda _: None)
        await backend.stop()
    assert caught.value.reason == "NO_MODEL"


async def test_a_cancelled_pull_leaves_nothing(weights: bytes, tmp_path: Path) -> None:
    steps: list[Progress] = []
    async with listening(Registry(weights, stall=True)) as server:
        backend = build(OllamaBackend, pulling(tmp_path, server.url), None)
        starting = asyncio.ensure_future(backend.start(steps.append))
        async with asyncio.timeout(60):
            while not any(step.total > PIECE and step.done for step in steps):
                await asyncio.sleep(0.05)
        assert list((tmp_path / "blobs").glob("*-partial*"))
        starting.cancel()
        await asyncio.wait({starting})
        await backend.stop()
    assert starting.cancelled()
    assert not list((tmp_path / "blobs").glob("*-partial*"))
    assert not manifests(tmp_path)


async def test_a_disk_that_fills_while_it_is_pulled_is_told_and_leaves_nothing(weights: bytes, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writing fails at the same place."""
    wrapper = tmp_path / "ollama"
    wrapper.write_text(f"#!/bin/bash\ntrap '' XFSZ\nulimit -f 20000\nexec {EXECUTABLE} \"$@\"\n")
    wrapper.chmod(0o755)
    store = tmp_path / "store"
    async with listening(Registry(weights)) as server:
        backend = build(OllamaBackend, {**pulling(store, server.url), "executable": str(wrapper)}, None)
        with pytest.raises(ConfigurationError, match=r"options\.pull") as caught:
            await backend.start(lambda _: None)
        await backend.stop()
    assert caught.value.reason == "DISK_FULL"
    assert not list((store / "blobs").glob("*-partial*"))
    assert not manifests(store)
