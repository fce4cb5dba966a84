"""The float32 reference: what it refuses, and what it keeps. Computing needs torch; LP3 and LP4 use it on an engine."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.oracles.reference import TransformersReference, open_reference


@pytest.mark.parametrize("files", [(), ("a.gguf", "b.gguf"), ("a.gguf", "a.safetensors"), ("pytorch_model.bin",)])
def test_a_directory_without_one_kind_of_weights_is_refused(files: tuple[str, ...], tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"weights")
    with pytest.raises(ConfigurationError, match="safetensors or with one GGUF file"):
        open_reference(tmp_path)


def test_the_digest_is_that_of_weights_and_configuration(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    before = TransformersReference(tmp_path, tmp_path).digest
    (tmp_path / "README.md").write_text("words")
    assert TransformersReference(tmp_path, tmp_path).digest == before
    (tmp_path / "config.json").write_text('{"rope_theta": 1}')
    assert TransformersReference(tmp_path, tmp_path).digest != before


def test_what_was_computed_is_read_again_without_the_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    reference = TransformersReference(tmp_path, tmp_path / "cache")
    key = hashlib.sha256(f"{reference.digest}/[1, 2]/[3]".encode()).hexdigest()
    (tmp_path / "cache").mkdir()
    np.savez(tmp_path / "cache" / f"{key}.npz", tokens=np.array([[3, 4]]), logprobs=np.array([[-0.5, -1.5]]))
    assert reference.along([1, 2], [3]) == [{3: -0.5, 4: -1.5}]
