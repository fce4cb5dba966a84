"""PEFT's adapters as GGUF: names, order, scale, and what is refused. The engine's own arithmetic is in `test_lora`."""

import hashlib
import json
import math
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader

from bellhousing.adapters import AdapterCache
from bellhousing.backend import AdapterFiles
from bellhousing.errors import PreconditionFailed
from bellhousing.gguf import Header, read_adapter_header, read_header
from bellhousing_llamacpp.copies import Copies, Copy
from tests.backends.peft import halves, safetensors, write_adapter

LAYERS, WIDTH = 30, 576
QUERY = "base_model.model.model.layers.0.self_attn.q_proj"
HEADS, KV_HEADS, HEAD = 9, 3, 64


@pytest.fixture(scope="module")
def base(model_path: Path) -> Header:
    return read_header(model_path)


@pytest.fixture
def cache(tmp_path: Path) -> AdapterCache:
    return AdapterCache(tmp_path / "cache", 1 << 30)


def files_of(path: Path, name: str = "mine") -> AdapterFiles:
    weights = path if path.is_file() else next(file for file in path.iterdir() if file.suffix != ".json")
    return AdapterFiles(name, str(path), f"sha256:{hashlib.sha256(weights.read_bytes()).hexdigest()}")


def tensors_of(copy: Copy) -> dict[str, Any]:
    return {tensor.name: tensor.data for tensor in GGUFReader(copy.path).tensors}


def alpha_of(copy: Copy) -> float:
    field = GGUFReader(copy.path).get_field("adapter.lora.alpha")
    assert field is not None
    return float(field.contents())


class TestWhatIsWritten:
    def test_the_tensors_have_the_names_and_shapes_of_the_base_model(
        self, base: Header, cache: AdapterCache, tmp_path: Path
    ) -> None:
        wanted = halves(LAYERS, WIDTH) | {
            f"base_model.model.model.layers.3.mlp.down_proj.lora_{half}.weight": shape
            for half, shape in (("A", (8, 1536)), ("B", (576, 8)))
        }
        copy = Copies(cache, base).make(files_of(write_adapter(tmp_path / "a", wanted, seed=1)))
        header = read_adapter_header(copy.path)
        assert header.architecture == "llama"
        assert len(header.shapes) == 2 * LAYERS + 2
        assert header.shapes["blk.29.attn_q.weight.lora_b"] == (WIDTH, 8)
        assert header.shapes["blk.3.ffn_down.weight.lora_a"] == (8, 1536)

    @pytest.mark.parametrize(("module", "heads"), [("q_proj", HEADS), ("k_proj", KV_HEADS)])
    def test_rows_of_queries_and_keys_are_in_the_order_that_the_base_model_has_them(
        self, base: Header, cache: AdapterCache, tmp_path: Path, module: str, heads: int
    ) -> None:
        name, rows = f"base_model.model.model.layers.0.self_attn.{module}", heads * HEAD
        wanted = {f"{name}.lora_A.weight": (1, WIDTH), f"{name}.lora_B.weight": (rows, 1)}
        path = write_adapter(tmp_path / "a", wanted)
        parts = iter([bytes(4 * WIDTH), array("f", map(float, range(rows))).tobytes()])
        (path / "adapter_model.safetensors").write_bytes(safetensors(wanted, lambda _: next(parts)))
        tensors = tensors_of(Copies(cache, base).make(files_of(path)))
        found = tensors[f"blk.0.attn_{module[0]}.weight.lora_b"].reshape(heads, HEAD)
        # Transformers turns row i with row i + 32 of a head, llama.cpp neighbours.
        expected = [[HEAD * head + i // 2 + (HEAD // 2) * (i % 2) for i in range(HEAD)] for head in range(heads)]
        assert found.tolist() == expected

    def test_an_architecture_that_keeps_their_order_keeps_it(
        self, base: Header, cache: AdapterCache, tmp_path: Path
    ) -> None:
        path = write_adapter(tmp_path / "a", halves(1, WIDTH), seed=1)
        plain = tensors_of(Copies(cache, replace(base, architecture="qwen2")).make(files_of(path)))
        turned = tensors_of(Copies(cache, base).make(files_of(path)))
        name = "blk.0.attn_q.weight.lora_"
        assert (plain[f"{name}a"] == turned[f"{name}a"]).all()
        assert not (plain[f"{name}b"] == turned[f"{name}b"]).all()
        raw = (path / "adapter_model.safetensors").read_bytes()[-4 * WIDTH * 8 :]
        assert plain[f"{name}b"].tobytes() == raw

    @pytest.mark.parametrize(
        ("config", "alpha"),
        [({}, 16.0), ({"lora_alpha": 3}, 3.0), ({"lora_alpha": 4, "use_rslora": True}, 4 * math.sqrt(8))],
    )
    def test_llama_cpp_divides_the_alpha_by_the_rank_as_peft_scales(
        self, base: Header, cache: AdapterCache, tmp_path: Path, config: dict[str, Any], alpha: float
    ) -> None:
        path = write_adapter(tmp_path / "a", halves(1, WIDTH), **config)
        assert alpha_of(Copies(cache, base).make(files_of(path))) == pytest.approx(alpha)

    @pytest.mark.parametrize(("dtype", "kept"), [("F16", np.float16), ("BF16", np.float32)])
    def test_sixteen_bits_lose_nothing(
        self, base: Header, cache: AdapterCache, tmp_path: Path, dtype: str, kept: type
    ) -> None:
        path = write_adapter(tmp_path / "a", halves(1, WIDTH))
        numbers = np.arange(8 * WIDTH, dtype=np.uint16)
        (path / "adapter_model.safetensors").write_bytes(two_bytes_each(dtype, numbers.tobytes()))
        found = tensors_of(Copies(cache, base).make(files_of(path)))["blk.0.attn_q.weight.lora_a"]
        exact = numbers.view(np.float16) if dtype == "F16" else (numbers.astype(np.uint32) << 16).view(np.float32)
        assert found.dtype == kept
        assert found.tobytes() == exact.tobytes()


def two_bytes_each(dtype: str, half: bytes) -> bytes:
    """Return the weights of an adapter of one layer, both halves of which have the same numbers."""
    told = {
        f"{QUERY}.lora_{name}.weight": {"dtype": dtype, "shape": shape, "data_offsets": [begin, begin + len(half)]}
        for name, shape, begin in (("A", [8, WIDTH], 0), ("B", [WIDTH, 8], len(half)))
    }
    raw = json.dumps(told).encode()
    return len(raw).to_bytes(8, "little") + raw + half + half


GOOD = halves(2, WIDTH)


@pytest.mark.parametrize(
    ("tensors", "config", "message"),
    [
        (GOOD, {"peft_type": "IA3"}, "expected peft_type LORA, found IA3"),
        (GOOD, {"use_dora": True}, "expected LoRA without DoRA"),
        (GOOD, {"bias": "all"}, 'expected bias "none", as llama.cpp has no other, found "all"'),
        (GOOD, {"modules_to_save": ["lm_head"]}, r'expected modules_to_save \[\], .*, found \["lm_head"\]'),
        (GOOD, {"rank_pattern": {"q_proj": 4}}, "expected rank_pattern {}"),
        (GOOD, {"alpha_pattern": {"q_proj": 4}}, "expected alpha_pattern {}"),
        (GOOD, {"alora_invocation_tokens": [1, 2]}, "expected alora_invocation_tokens null"),
        (GOOD, {"init_lora_weights": "pissa"}, "weights for the base model as it is, found init_lora_weights 'pissa'"),
        (GOOD, {"lora_alpha": 0}, "expected a lora_alpha other than 0, found 0"),
        (GOOD, {"r": 4}, r"self_attn.q_proj with halves of shape \(4, 576\) and \(576, 4\), .*, found \(8, 576\)"),
        (halves(2, 64), {}, r"shape \(8, 576\) and \(576, 8\), for this base model, found \(8, 64\) and \(64, 8\)"),
        (halves(2, WIDTH, module="no.such"), {}, "target modules .*, found model.layers.0.no.such"),
        (halves(31, WIDTH), {}, "target modules that this base model has .*, found model.layers.30.self_attn.q_proj"),
        (GOOD | {"base_model.model.lm_head.weight": (2, 2)}, {}, "tensors named .*, found base_model.model.lm_head"),
        (
            {f"{QUERY}.lora_A.weight": (8, WIDTH)},
            {},
            "expected both halves of model.layers.0.self_attn.q_proj, found one",
        ),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(
    base: Header,
    cache: AdapterCache,
    tmp_path: Path,
    tensors: dict[str, tuple[int, ...]],
    config: dict[str, Any],
    message: str,
) -> None:
    path = write_adapter(tmp_path / "a", tensors, **config)
    with pytest.raises(PreconditionFailed, match=f"adapter 'mine': .*{message}") as refused:
        Copies(cache, base).make(files_of(path))
    assert refused.value.reason == "ADAPTER_FORMAT"
    assert cache.used_bytes() == 0


def test_a_base_of_an_architecture_without_a_conversion_is_told(
    base: Header, cache: AdapterCache, tmp_path: Path
) -> None:
    path = write_adapter(tmp_path / "a", GOOD)
    with pytest.raises(PreconditionFailed, match=r"found 'falcon'; convert it with llama.cpp's"):
        Copies(cache, replace(base, architecture="falcon")).make(files_of(path))


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_cut_file_is_refused(base: Header, cache: AdapterCache, tmp_path: Path, kept: int) -> None:
    path = write_adapter(tmp_path / "a", GOOD)
    file = path / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(PreconditionFailed, match=r"adapter 'mine': expected .* in adapter_model.safetensors, found"):
        Copies(cache, base).make(files_of(path))


class TestCopies:
    def test_the_same_files_are_converted_once(self, base: Header, cache: AdapterCache, tmp_path: Path) -> None:
        copies, files = Copies(cache, base), files_of(write_adapter(tmp_path / "a", GOOD, seed=1))
        first = copies.make(files)
        made = first.path.stat().st_mtime_ns
        assert copies.make(AdapterFiles("other", files.path, files.digest)).path == first.path
        assert first.path.stat().st_mtime_ns == made

    @pytest.mark.parametrize("change", ["weights", "configuration", "base"])
    def test_what_depends_on_something_else_is_another_copy(
        self, base: Header, cache: AdapterCache, tmp_path: Path, change: str
    ) -> None:
        path = write_adapter(tmp_path / "a", GOOD, seed=1)
        first = Copies(cache, base).make(files_of(path)).path
        if change != "base":
            write_adapter(path, GOOD, seed=1 + (change == "weights"), lora_alpha=16 - (change == "configuration"))
        other = replace(base, architecture="qwen2") if change == "base" else base
        assert Copies(cache, other).make(files_of(path)).path != first

    def test_files_that_are_not_those_of_the_digest_leave_no_copy(
        self, base: Header, cache: AdapterCache, tmp_path: Path
    ) -> None:
        verified = files_of(write_adapter(tmp_path / "a", GOOD, seed=1))
        write_adapter(tmp_path / "a", GOOD, seed=2)
        with pytest.raises(PreconditionFailed, match="its weights changed since they were verified") as refused:
            Copies(cache, base).make(verified)
        assert refused.value.reason == "ADAPTER_CHANGED"
        assert cache.used_bytes() == 0

    def test_a_gguf_adapter_is_copied_as_it_is(self, base: Header, cache: AdapterCache, tmp_path: Path) -> None:
        converted = Copies(cache, base).make(files_of(write_adapter(tmp_path / "a", GOOD, seed=1)))
        file = tmp_path / "mine.gguf"
        file.write_bytes(converted.path.read_bytes())
        copy = Copies(cache, base).make(files_of(file))
        assert copy.path not in (file, converted.path)
        assert copy.path.read_bytes() == file.read_bytes()

    def test_a_copy_that_the_disk_spoiled_is_made_again(
        self, base: Header, cache: AdapterCache, tmp_path: Path
    ) -> None:
        copies, files = Copies(cache, base), files_of(write_adapter(tmp_path / "a", GOOD, seed=1))
        first = copies.make(files)
        whole = first.path.read_bytes()
        first.path.write_bytes(whole[:-8])
        first.release()
        assert copies.make(files).path.read_bytes() == whole
