"""What is refused of a model's directory, and of a topology, before vLLM starts."""

import json
from pathlib import Path
from typing import Any

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing.settings import Parallelism
from bellhousing_vllm.model_files import ModelFiles, check_parallelism, read_model
from tests.backends.peft import safetensors

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "num_hidden_layers": 6,
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with all that a model needs."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model.safetensors").write_bytes(safetensors({"a": (2, 3)}))
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path


def test_a_whole_directory_is_read(directory: Path) -> None:
    model = read_model(directory)
    assert model.shapes == {"a": (2, 3)}
    assert model.digest(lambda _: None).startswith("sha256:")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "expected a file config.json, found none"),
        ("model.safetensors", r"expected weights in \*\.safetensors, found pytorch_model\.bin"),
        ("tokenizer.json", "expected a tokenizer, one of tokenizer.json"),
    ],
)
def test_what_is_missing_is_named(directory: Path, missing: str, message: str) -> None:
    (directory / "pytorch_model.bin").write_bytes(b"")
    (directory / missing).unlink()
    with pytest.raises(ConfigurationError, match=message):
        read_model(directory)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_configuration_that_is_none_is_refused(directory: Path, text: str) -> None:
    (directory / "config.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"config\.json': expected"):
        read_model(directory)


@pytest.mark.parametrize(
    ("wanted", "devices", "message"),
    [
        ({"tensor": 5}, None, "parallelism.tensor: expected a divisor of the model's 12 attention heads, found 5"),
        ({"tensor": 6}, None, "a divisor or a multiple of the model's 4 key-value heads, found 6"),
        ({"pipeline": 7}, None, "parallelism.pipeline: expected at most the model's 6 layers, found 7"),
        ({"tensor": 2, "data": 2}, 2, "tensor 2 x pipeline 1 x data 2 needs 4 devices, found 2"),
    ],
)
def test_a_topology_that_cannot_be_is_refused(wanted: dict[str, Any], devices: int | None, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        check_parallelism(ModelFiles(Path(), CONFIG, ()), Parallelism(**wanted), devices)
    assert refused.value.reason == "PARALLELISM"


@pytest.mark.parametrize("wanted", [{}, {"tensor": 2}, {"tensor": 4, "pipeline": 2}, {"tensor": 12}])
def test_a_topology_that_can_be_is_let_through(wanted: dict[str, Any]) -> None:
    check_parallelism(ModelFiles(Path(), {"text_config": CONFIG}, ()), Parallelism(**wanted), 12)
