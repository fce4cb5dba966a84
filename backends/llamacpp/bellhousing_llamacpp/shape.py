"""What the shared settings mean for llama.cpp: how many sequences, how long, in how many tokens a step."""

from typing import Any

from bellhousing.errors import ConfigurationError
from bellhousing.gguf import Header
from bellhousing.settings import EngineSettings, Parallelism
from bellhousing_llamacpp.errors import NAME
from bellhousing_llamacpp.options import LlamaCppOptions
from bellhousing_llamacpp.server import Shape

DEFAULT_SEQUENCES, DEFAULT_CONTEXT = 4, 4096
BATCHED_TOKENS_ON_A_GPU, BATCHED_TOKENS_ON_THE_PROCESSOR = 512, 128
"""Tokens of a step unless told.

A cancellation and the next token of every neighbour wait for a step. A processor takes seconds for 512 tokens, and
gains nothing by them: measured on two with a prompt of 1,900 tokens, 128, 124, 127 and 111 tokens/s in steps of 512,
256, 128 and 64.
"""
MAX_SEQUENCES = 256
"""What llama.cpp was compiled for."""
UNIT = 256
"""llama.cpp allots the context of a sequence in units of this many tokens."""


def shape_of(settings: EngineSettings, options: LlamaCppOptions, header: Header) -> tuple[Shape, tuple[str, ...]]:
    """Return the shape, and the devices in use. Raises `ConfigurationError` naming the setting that cannot be met."""
    batching = settings.batching
    sequences = batching.max_sequences or DEFAULT_SEQUENCES
    if sequences > MAX_SEQUENCES:
        raise _wrong(f"batching.max_sequences: llama.cpp takes at most {MAX_SEQUENCES}, found {sequences}")
    trained = header.context_length or DEFAULT_CONTEXT
    context = options.context_per_sequence or min(trained, DEFAULT_CONTEXT)
    if batching.max_total_tokens is not None:
        context = _shared(batching.max_total_tokens, sequences, options.context_per_sequence, context)
    if context > trained:
        raise _wrong(f"options.context_per_sequence: the model was trained for {trained} tokens, found {context}")
    devices = _devices()
    _check_parallelism(settings.parallelism, devices)
    used = devices[: settings.parallelism.pipeline] if options.gpu_layers else ()
    batched = batching.max_batched_tokens or (BATCHED_TOKENS_ON_A_GPU if used else BATCHED_TOKENS_ON_THE_PROCESSOR)
    return Shape(sequences, context, batched, settings.parallelism.pipeline), used


def _shared(total: int, sequences: int, wanted: int | None, default: int) -> int:
    """Return each sequence's part of all tokens."""
    share = total // sequences // UNIT * UNIT
    if share == 0:
        raise _wrong(
            f"batching.max_total_tokens: {sequences} sequences need at least {sequences * UNIT} tokens, found {total}"
        )
    if wanted and wanted > share:
        raise _wrong(
            f"options.context_per_sequence: batching.max_total_tokens of {total} leaves {share} tokens to each of"
            f" {sequences} sequences, found {wanted}"
        )
    return wanted or min(default, share)


def _check_parallelism(wanted: Parallelism, devices: tuple[str, ...]) -> None:
    for name in ("tensor", "data"):
        size = getattr(wanted, name)
        if size > 1:
            raise _wrong(f"parallelism.{name}: llama.cpp has no {name} parallelism; expected 1, found {size}")
    if wanted.pipeline > max(1, len(devices)):
        raise _wrong(
            f"parallelism.pipeline: llama.cpp spreads layers over GPUs; expected at most {max(1, len(devices))} with"
            f" the {len(devices)} GPUs that it sees, found {wanted.pipeline}"
        )


def _devices() -> tuple[str, ...]:
    """Return the GPUs that the engine sees."""
    return tuple(str(device["name"]) for device in gpus())


def gpus() -> list[dict[str, Any]]:
    """Return what the engine says of each GPU."""
    import xllamacpp

    kinds = xllamacpp.ggml_backend_dev_type
    ours = (kinds.GGML_BACKEND_DEVICE_TYPE_GPU, kinds.GGML_BACKEND_DEVICE_TYPE_IGPU)
    return [device for device in xllamacpp.get_device_info() if device["type"] in ours]


def _wrong(what: str) -> ConfigurationError:
    return ConfigurationError(what, reason="INVALID_SETTING", backend=NAME)
