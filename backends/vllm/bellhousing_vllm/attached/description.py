"""What the backend says of a server it is attached to: less than of an engine of its own."""

from bellhousing.attachment import REASONS, effective_settings
from bellhousing.backend import ModelInfo
from bellhousing.capabilities import Bounds, Capabilities, Range, parameters
from bellhousing.settings import EngineSettings
from bellhousing_vllm.description import honoured

MAX_SEQUENCES = 256
"""Requests sent at once where nothing else is configured; what the server cannot run yet, it queues."""
MAX_LOGPROBS = 20
"""vLLM's default; a server started with less refuses more by itself."""


def described(
    settings: EngineSettings,
    *,
    version: str,
    context_length: int,
    has_template: bool,
    has_pieces: bool,
    has_adapters: bool,
) -> ModelInfo:
    """Return the description of a model that the server answers for."""
    most = settings.batching.max_sequences or MAX_SEQUENCES
    capabilities = _capabilities(has_template=has_template, has_pieces=has_pieces, has_adapters=has_adapters)
    return ModelInfo(
        engine="vLLM",
        engine_version=version,
        context_length=context_length,
        max_running=most,
        capabilities=capabilities,
        defaults=capabilities.neutral(),
        effective=effective_settings(most),
        reasons=REASONS,
    )


def _capabilities(*, has_template: bool, has_pieces: bool, has_adapters: bool) -> Capabilities:
    names = honoured(has_template=has_template, has_adapters=has_adapters)
    return Capabilities(
        parameters=parameters(*names, logprobs__top=Range(0, MAX_LOGPROBS)),
        token_ids=True,
        tokenize=has_pieces,
        detokenize=True,
        adapters="dynamic" if has_adapters else "none",
        determinism="solo",
        logprobs_mode="raw",
        grammar_syntax="ebnf",
    )


BOUNDS = Bounds(
    least=_capabilities(has_template=False, has_pieces=False, has_adapters=False),
    most=_capabilities(has_template=True, has_pieces=True, has_adapters=True),
)
