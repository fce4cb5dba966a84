from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from bellhousing.errors import ConfigurationError
from bellhousing.gguf import Header
from bellhousing.settings import EngineSettings
from bellhousing_llamacpp import LlamaCppOptions
from bellhousing_llamacpp.server import Shape
from bellhousing_llamacpp.shape import shape_of

HEADER = Header("llama", 8192, "F16", "", (), "", (), 0, 1, 0)


def shape(header: Header = HEADER, *, context: int | None = None, **batching: int) -> Shape:
    settings = EngineSettings.model_validate({"batching": batching})
    return shape_of(settings, LlamaCppOptions(context_per_sequence=context), header)[0]


def see(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the engine's library see these GPUs, whatever the machine has."""
    import xllamacpp

    gpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_GPU
    monkeypatch.setattr(xllamacpp, "get_device_info", lambda: [{"name": name, "type": gpu} for name in names])


def test_unset_settings_take_four_sequences_of_at_most_4096_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch)
    assert shape() == Shape(4, 4096, 128)
    assert shape(replace(HEADER, context_length=2048)) == Shape(4, 2048, 128)


def test_a_step_is_longer_on_a_gpu_than_on_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, "GPU0")
    assert shape().batched_tokens == 512
    on_processor = shape_of(EngineSettings(), LlamaCppOptions(gpu_layers=0), HEADER)[0]
    assert on_processor.batched_tokens == 128


def test_settings_are_taken_as_they_are() -> None:
    assert shape(context=8192, max_sequences=2, max_batched_tokens=64) == Shape(2, 8192, 64)


def test_the_total_is_shared_out_in_whole_units_and_never_exceeded() -> None:
    assert shape(max_sequences=3, max_total_tokens=4096).context_per_sequence == 1280
    assert shape(max_sequences=1, max_total_tokens=100_000).context_per_sequence == 4096


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"context": 8448}, "options.context_per_sequence: the model was trained for 8192 tokens, found 8448"),
        ({"context": 1024, "max_total_tokens": 2048}, "leaves 512 tokens to each of 4 sequences, found 1024"),
        ({"max_total_tokens": 1000}, "need at least 1024 tokens, found 1000"),
        ({"max_sequences": 300}, "takes at most 256, found 300"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(wanted: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        shape(**wanted)
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["tensor", "data", "pipeline"])
def test_parallelism_that_the_engine_lacks_is_refused_by_name(name: str) -> None:
    settings = EngineSettings.model_validate({"parallelism": {name: 16}})
    with pytest.raises(ConfigurationError, match=rf"parallelism\.{name}: .* found 16"):
        shape_of(settings, LlamaCppOptions(), HEADER)


@pytest.mark.parametrize("options", [{"context_per_sequence": 300}, {"threads": 0}, {"cache_type_k": "q1"}, {"n": 1}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LlamaCppOptions(**options)
