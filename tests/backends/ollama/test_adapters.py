"""Adapters as derived models, on the real engine; and their checks, without it."""

import json
import struct
from pathlib import Path

import pytest

from bellhousing.backend import AdapterFiles
from bellhousing.errors import NotFound, Overloaded, PreconditionFailed
from bellhousing.gguf import read_header
from bellhousing.lora import check_adapter, check_gguf_adapter
from bellhousing.testing import Served
from bellhousing.testing.probe import Probe
from bellhousing_ollama.adapters import PREFIX, peft_shapes
from tests.backends.ollama.conftest import FRANCE
from tests.backends.ollama.test_engine import ollama_of
from tests.backends.peft import halves, write_adapter
from tests.gguf_file import gguf

LAYERS, WIDTH = 30, 576


@pytest.fixture
def files(adapters_path: Path, request: pytest.FixtureRequest) -> AdapterFiles:
    """An adapter that fits the real model and changes what it says."""
    name = request.node.name
    path = write_adapter(adapters_path / name, halves(LAYERS, WIDTH), seed=3)
    return AdapterFiles(name, str(path), "sha256:" + "1" * 64)


class TestFiles:
    def test_the_names_of_peft_and_of_gguf_are_matched(self, model_path: Path) -> None:
        shapes = peft_shapes(read_header(model_path))
        assert shapes["model.layers.0.self_attn.k_proj.weight"] == (192, 576)
        assert len(shapes) == 7 * LAYERS

    def test_an_adapter_of_the_model_is_taken(self, model_path: Path, tmp_path: Path) -> None:
        path = write_adapter(tmp_path / "a", halves(LAYERS, WIDTH))
        check_adapter(AdapterFiles("a", str(path), ""), peft_shapes(read_header(model_path)), 64)

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            (halves(LAYERS, 512), "for this base model"),
            (halves(2, WIDTH, module="mamba.in_proj"), "target modules of this base model"),
            ({"x": (1, 1)}, "tensors named"),
        ],
    )
    def test_an_adapter_of_another_model_is_refused(
        self, model_path: Path, tmp_path: Path, tensors: dict[str, tuple[int, ...]], message: str
    ) -> None:
        path = write_adapter(tmp_path / "a", tensors)
        with pytest.raises(PreconditionFailed, match=message):
            check_adapter(AdapterFiles("a", str(path), ""), peft_shapes(read_header(model_path)), 64)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"general.type": "model"}, "expected general.type adapter"),
            (
                {"general.type": "adapter", "adapter.type": "lora", "general.architecture": "qwen2"},
                "expected an adapter of 'llama', found one of 'qwen2'",
            ),
            (
                {"general.type": "adapter", "adapter.type": "lora", "general.architecture": "llama"},
                r"expected tensors named \*.lora_a",
            ),
        ],
    )
    def test_a_gguf_adapter_that_cannot_fit_is_refused(
        self, model_path: Path, tmp_path: Path, values: dict[str, str], message: str
    ) -> None:
        file = tmp_path / "adapter.gguf"
        file.write_bytes(gguf(values))
        with pytest.raises(PreconditionFailed, match=message):
            check_gguf_adapter("a", file, read_header(model_path))

    def test_a_gguf_adapter_that_was_cut_off_is_refused(self, model_path: Path, tmp_path: Path) -> None:
        file = tmp_path / "adapter.gguf"
        file.write_bytes(b"GGUF" + struct.pack("<I", 3))
        with pytest.raises(PreconditionFailed, match="cut off"):
            check_gguf_adapter("a", file, read_header(model_path))


@pytest.mark.engine
@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_scope="session")
class TestOnTheEngine:
    async def test_an_adapter_changes_the_output_and_the_base_stays(self, served: Served, files: AdapterFiles) -> None:
        base = (await served.client.complete(FRANCE, max_tokens=8, temperature=0.0)).outputs[0].text
        await served.client.register_adapter(files.name, f"file://{files.path}")
        changed = (await served.client.complete(FRANCE, max_tokens=8, temperature=0.0, adapter=files.name)).outputs[0]
        again = (await served.client.complete(FRANCE, max_tokens=8, temperature=0.0)).outputs[0].text
        await served.client.unload_adapter(files.name)
        assert changed.text != base
        assert again == base
        assert await derived_models(served) == []

    async def test_no_more_adapters_are_loaded_than_there_is_room_for(
        self, probe: Probe, served: Served, files: AdapterFiles
    ) -> None:
        await probe.backend.load_adapter(files)
        try:
            with pytest.raises(Overloaded, match="1 adapters are loaded"):
                await probe.backend.load_adapter(AdapterFiles("second", files.path, files.digest))
        finally:
            await probe.backend.unload_adapter(files.name)
        with pytest.raises(NotFound):
            await probe.backend.unload_adapter(files.name)
        assert await derived_models(served) == []

    async def test_an_adapter_that_ollama_refuses_at_create_leaves_nothing(
        self, served: Served, probe: Probe, files: AdapterFiles
    ) -> None:
        config = Path(files.path) / "adapter_config.json"
        config.write_text(json.dumps({"peft_type": "LORA", "r": 8, "lora_alpha": "much"}))
        with pytest.raises(PreconditionFailed) as caught:
            await probe.backend.load_adapter(files)
        assert caught.value.reason == "ADAPTER_FORMAT"
        assert await derived_models(served) == []

    async def test_an_adapter_that_create_accepts_and_no_runner_can_load_leaves_nothing(
        self, served: Served, probe: Probe, tmp_path: Path
    ) -> None:
        backend = ollama_of(served)
        header, backend._derived._header = backend._derived._header, None  # so that only the engine can refuse it
        file = tmp_path / "wrong.gguf"
        file.write_bytes(
            gguf(
                {"general.type": "adapter", "adapter.type": "lora", "general.architecture": "qwen2"},
            )
        )
        try:
            with pytest.raises(PreconditionFailed) as caught:
                await probe.backend.load_adapter(AdapterFiles("wrong", str(file), "sha256:" + "2" * 64))
        finally:
            backend._derived._header = header
        assert caught.value.reason == "ADAPTER_FORMAT"
        assert await derived_models(served) == []
        assert (await probe.run(probe.request(max_tokens=2))).deltas


async def derived_models(served: Served) -> list[str]:
    return [name for name in await ollama_of(served)._connected().models() if name.startswith(PREFIX)]
