"""How much the engine takes, from the settings that all engines share."""

from dataclasses import dataclass

from bellhousing.errors import ConfigurationError
from bellhousing.settings import EngineSettings
from bellhousing_ollama.errors import NAME
from bellhousing_ollama.options import CONTEXT_UNIT, OllamaOptions

DEFAULT_SEQUENCES = 4
DEFAULT_BATCHED_TOKENS, BATCHED_TOKENS_ON_THE_PROCESSOR = 512, 128
"""Tokens of a step unless told: Ollama's own, and what is no slower on a processor (see the backend `llamacpp`).

A cancellation and the next token of every neighbour wait for a step, which takes a processor seconds with 512. Whether
Ollama finds a GPU is known after the load only, so the smaller one is for a model that was told to use none.
"""
DEFAULT_CONTEXT = 4096


@dataclass(frozen=True, slots=True)
class Shape:
    """Sequences at once, tokens of each, tokens in a step, and GPUs to spread over."""

    sequences: int
    context_per_sequence: int
    batched_tokens: int
    pipeline: int = 1


def shape_of(settings: EngineSettings, options: OllamaOptions, trained_context: int) -> Shape:
    """Return the shape; `trained_context` is 0 where it is not known.

    Raises `ConfigurationError` for what Ollama cannot do.
    """
    parallelism, batching = settings.parallelism, settings.batching
    for name in ("tensor", "data"):
        if (found := getattr(parallelism, name)) != 1:
            raise _refused(f"parallelism.{name}", "1, since Ollama splits a model by layers only", found)
    sequences = batching.max_sequences or DEFAULT_SEQUENCES
    context = options.context_per_sequence
    if batching.max_total_tokens is not None:
        share = batching.max_total_tokens // sequences // CONTEXT_UNIT * CONTEXT_UNIT
        if share < CONTEXT_UNIT:
            raise _refused(
                "batching.max_total_tokens",
                f"at least {CONTEXT_UNIT * sequences}, {CONTEXT_UNIT} for each of {sequences} sequences",
                batching.max_total_tokens,
            )
        if context is not None and context > share:
            raise _refused("options.context_per_sequence", f"at most the share of {share} tokens", context)
        context = context or share
    most = trained_context // CONTEXT_UNIT * CONTEXT_UNIT
    if options.context_per_sequence and most and options.context_per_sequence > most:
        # Ollama would cut it without a word.
        raise _refused("options.context_per_sequence", f"at most the model's {most}", options.context_per_sequence)
    context = min(context or DEFAULT_CONTEXT, most or DEFAULT_CONTEXT if context is None else most or context)
    default = BATCHED_TOKENS_ON_THE_PROCESSOR if options.gpu_layers == 0 else DEFAULT_BATCHED_TOKENS
    return Shape(sequences, context, batching.max_batched_tokens or default, parallelism.pipeline)


def _refused(name: str, expected: str, found: int) -> ConfigurationError:
    return ConfigurationError(f"{name}: expected {expected}, found {found}", reason="UNSUPPORTED_SETTING", backend=NAME)
