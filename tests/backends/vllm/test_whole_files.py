"""Adapters read in one piece: the same that vLLM makes of the files, and none that vLLM would refuse."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bellhousing.lora import WEIGHTS
from bellhousing_vllm.whole_files import WholeFiles
from tests.backends.peft import halves, write_adapter

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("default"),  # vLLM and PyTorch warn of themselves
]

GOOD = halves(3, 64)
Read = Callable[[Any, Path], Any]


class Counting:
    """vLLM's own class, which counts the files that it reads itself."""

    def __init__(self) -> None:
        from vllm.lora.lora_model import LoRAModel

        self.read = 0
        self.from_lora_tensors = LoRAModel.from_lora_tensors
        self._from_local_checkpoint = LoRAModel.from_local_checkpoint

    def from_local_checkpoint(self, *arguments: Any, **how: Any) -> Any:
        self.read += 1
        return self._from_local_checkpoint(*arguments, **how)


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture(params=["float32", "bfloat16"])
def read(request: pytest.FixtureRequest) -> Read:
    """Return what makes an adapter of a directory as vLLM's worker does, in the type of the model."""
    import torch
    from vllm.lora.peft_helper import PEFTHelper

    def make(model_class: Any, path: Path) -> Any:
        helper = PEFTHelper.from_local_dir(str(path), None)
        how = {"lora_model_id": 1, "device": "cpu", "dtype": getattr(torch, request.param), "model_vocab_size": 100}
        return model_class.from_local_checkpoint(str(path), {"q_proj"}, peft_helper=helper, **how)

    return make


def halved(path: Path, name: str) -> Path:
    """Write an adapter's tensors again in another type."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(path / WEIGHTS)
    save_file({key: tensor.to(getattr(torch, name)) for key, tensor in tensors.items()}, path / WEIGHTS)
    return path


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_an_adapter_read_in_one_piece_has_the_weights_that_vllm_reads(
    tmp_path: Path, counting: Counting, read: Read, kind: str
) -> None:
    import torch

    first, second = (halved(write_adapter(tmp_path / str(seed), GOOD, seed=seed), kind) for seed in (1, 2))
    whole = WholeFiles(counting)
    read(whole, first)
    assert counting.read == 1
    found = read(whole, second)
    assert counting.read == 1
    expected = read(counting, second)
    assert (found.id, found.rank, found.loras.keys()) == (expected.id, expected.rank, expected.loras.keys())
    assert len(found.loras) == 3
    for name, lora in expected.loras.items():
        assert torch.equal(found.loras[name].lora_a, lora.lora_a)
        assert torch.equal(found.loras[name].lora_b, lora.lora_b)
        assert found.loras[name].scaling == lora.scaling


def test_what_was_read_does_not_change_with_its_file(tmp_path: Path, counting: Counting, read: Read) -> None:
    import torch

    whole, path = WholeFiles(counting), write_adapter(tmp_path / "1", GOOD, seed=1)
    read(whole, path)
    found = read(whole, path)
    kept = {name: lora.lora_a.clone() for name, lora in found.loras.items()}
    with (path / WEIGHTS).open("r+b") as file:
        file.truncate(100)
    assert all(torch.equal(found.loras[name].lora_a, tensor) for name, tensor in kept.items())


def test_other_names_go_to_vllm_which_refuses_those_it_does_not_know(
    tmp_path: Path, counting: Counting, read: Read
) -> None:
    whole = WholeFiles(counting)
    read(whole, write_adapter(tmp_path / "good", GOOD, seed=1))
    bad = write_adapter(tmp_path / "bad", halves(3, 64, module="self_attn.of_no_model"), seed=2)
    for _ in range(2):
        with pytest.raises(ValueError, match="of_no_model"):
            read(whole, bad)
    assert counting.read == 3


def test_tensors_of_two_types_are_left_to_vllm(tmp_path: Path, counting: Counting, read: Read) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    whole, path = WholeFiles(counting), write_adapter(tmp_path / "1", GOOD, seed=1)
    tensors = load_file(path / WEIGHTS)
    name = next(iter(tensors))
    save_file(tensors | {name: tensors[name].to(torch.float16)}, path / WEIGHTS)
    for _ in range(2):
        read(whole, path)
    assert counting.read == 2


def test_a_file_that_is_gone_is_vllms_own_error(tmp_path: Path, counting: Counting, read: Read) -> None:
    whole, path = WholeFiles(counting), write_adapter(tmp_path / "1", GOOD, seed=1)
    read(whole, path)
    kept = tmp_path / "2"
    shutil.copytree(path, kept)
    (kept / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="doesn't contain tensors"):
        read(whole, kept)
