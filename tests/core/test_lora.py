"""What is read of an adapter before an engine sees it; PEFT's are in the backends' tests."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from bellhousing.errors import PreconditionFailed
from bellhousing.gguf import Header, read_header
from bellhousing.lora import check_gguf_adapter
from bellhousing.safetensors import read_shapes
from tests.gguf_file import gguf

KIND = {"general.type": "adapter", "adapter.type": "lora", "general.architecture": "llama"}
F32, Q4_0 = 0, 2
Tensor = tuple[str, tuple[int, ...], int]
QUERY = "blk.0.attn_q.weight"
GOOD: tuple[Tensor, ...] = ((f"{QUERY}.lora_a", (64, 8), F32), (f"{QUERY}.lora_b", (8, 32), F32))


@pytest.fixture
def base(tmp_path: Path) -> Header:
    file = tmp_path / "model.gguf"
    told = {"general.architecture": "llama", "tokenizer.ggml.tokens": ["a"]}
    shapes = [(QUERY, (64, 32), F32), ("token_embd.weight", (64, 1), F32), ("blk.0.attn_norm.weight", (64,), F32)]
    file.write_bytes(gguf(told, shapes))
    return read_header(file)


def check(folder: Path, base: Header, values: Mapping[str, object], tensors: tuple[Tensor, ...]) -> None:
    file = folder / "adapter.gguf"
    file.write_bytes(gguf({**KIND, **values}, tensors))
    check_gguf_adapter("mine", file, base)


def test_a_gguf_adapter_that_fits_is_taken(tmp_path: Path, base: Header) -> None:
    check(tmp_path, base, {}, GOOD)


@pytest.mark.parametrize(
    ("values", "tensors", "message"),
    [
        ({"general.type": "model"}, GOOD, "expected general.type adapter and adapter.type lora, found model lora"),
        ({"adapter.type": "control"}, GOOD, "found adapter control"),
        ({"general.architecture": "qwen2"}, GOOD, "expected an adapter of 'llama', found one of 'qwen2'"),
        ({"adapter.lora.alpha": 16}, GOOD, r"expected adapter.lora.alpha as .* \(float32\), found type 5"),
        ({"adapter.alora.invocation_tokens": [1]}, GOOD, "one that begins after words of its own"),
        ({}, (), r"expected tensors named \*.lora_a and \*.lora_b, found none"),
        ({}, (*GOOD, ("blk.0.attn_norm.weight", (64,), F32)), "found blk.0.attn_norm.weight"),
        ({}, GOOD[:1], r"expected blk.0.attn_q.weight.lora_a and blk.0.attn_q.weight.lora_b, found one of them"),
        ({}, ((GOOD[0][0], (64, 4), F32), GOOD[1]), r"of one rank that fit \(32, 64\), found \(4, 64\) and \(32, 8\)"),
        ({}, (GOOD[0], (GOOD[1][0], (8, 31), F32)), r"that fit \(32, 64\), found \(8, 64\) and \(31, 8\)"),
        ({}, ((GOOD[0][0], (64, 32), Q4_0), GOOD[1]), "as F32, F16, Q8_0, BF16, found GGUF's type 2"),
        ({}, (("blk.7.attn_q.weight.lora_a", (64, 8), F32),), "tensors of this base model, .*, found blk.7.attn_q"),
        ({}, (("token_embd.weight.lora_a", (64, 8), F32),), "of its layers or its output, found token_embd.weight"),
    ],
)
def test_a_gguf_adapter_that_llama_cpp_would_ignore_or_end_over_is_refused(
    tmp_path: Path, base: Header, values: Mapping[str, object], tensors: tuple[Tensor, ...], message: str
) -> None:
    with pytest.raises(PreconditionFailed, match=f"adapter 'mine': .*{message}") as refused:
        check(tmp_path, base, values, tensors)
    assert refused.value.reason == "ADAPTER_FORMAT"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"[1, 2]", "expected a safetensors header in a, found no JSON object"),
        (b'{"x": 5}', "expected a type, a shape and two offsets of tensor 'x', found 5"),
        (b'{"x": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}', "two offsets of tensor 'x'"),
        (b'{"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', "numbers of at least 0"),
        (b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', "expected 8 bytes of tensor 'x', found 4"),
        (b'{"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', "expected 4 bytes of tensors in a, found 0"),
    ],
)
def test_a_safetensors_header_that_tells_nonsense_is_damaged(tmp_path: Path, header: bytes, message: str) -> None:
    file = tmp_path / "a"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match=message):
        read_shapes(file)
