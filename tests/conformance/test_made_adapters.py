"""Adapters that the suite makes for the server it starts: they fit the model, in whatever form that is."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from bellhousing.safetensors import read_shapes
from bellhousing_conformance.targets.adapters import NAMES, RANK, write_adapters
from tests.gguf_file import gguf

WIDTH, HIDDEN, LAYERS = 48, 64, 3
NAME = "base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{half}.weight"
EXPECTED = {
    NAME.format(layer=layer, half=half): shape
    for layer in range(LAYERS)
    for half, shape in (("A", (RANK, HIDDEN)), ("B", (WIDTH, RANK)))
}


def shapes_of(source: str) -> dict[str, tuple[int, ...]]:
    return read_shapes(Path(urlsplit(source).path) / "adapter_model.safetensors")


def test_they_fit_a_model_in_a_directory(tmp_path: Path) -> None:
    told = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 3, "head_dim": 16}
    (tmp_path / "config.json").write_text(json.dumps(told))
    first, second = write_adapters(tmp_path / "made", tmp_path)
    assert (shapes_of(first), shapes_of(second)) == (EXPECTED, EXPECTED)
    assert first.endswith(NAMES[0])


def test_they_fit_a_model_in_a_gguf_file(tmp_path: Path) -> None:
    # GGUF tells the columns first.
    tensors = [(f"blk.{layer}.attn_q.weight", (HIDDEN, WIDTH), 0) for layer in range(LAYERS)]
    file = tmp_path / "model.gguf"
    file.write_bytes(gguf({"general.architecture": "llama", "tokenizer.ggml.tokens": ["a"]}, tensors))
    assert [shapes_of(source) for source in write_adapters(tmp_path / "made", file)] == [EXPECTED, EXPECTED]


def test_there_are_none_for_a_model_whose_shapes_are_not_known(tmp_path: Path) -> None:
    broken = tmp_path / "model.gguf"
    broken.write_bytes(b"GGUF")
    other = tmp_path / "other.gguf"
    other.write_bytes(gguf({"general.architecture": "mamba", "tokenizer.ggml.tokens": ["a"]}))
    for model in (broken, other, tmp_path, tmp_path / "nowhere"):
        assert write_adapters(tmp_path / "made", model) == ()


def test_two_adapters_of_an_engine_without_weights_differ(tmp_path: Path) -> None:
    first, second = [
        (Path(urlsplit(source).path) / "adapter_model.safetensors").read_bytes()
        for source in write_adapters(tmp_path, None)
    ]
    assert first != second
