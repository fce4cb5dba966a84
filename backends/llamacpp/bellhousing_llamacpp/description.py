"""What the backend says of itself once it runs: capabilities, defaults, and what became of the settings."""

from importlib.metadata import version

from bellhousing.backend import ModelInfo
from bellhousing.capabilities import Bounds, Capabilities, Range, parameters
from bellhousing.gguf import Header
from bellhousing.settings import Batching, EngineSettings
from bellhousing_llamacpp.options import LlamaCppOptions
from bellhousing_llamacpp.server import Shape
from bellhousing_llamacpp.shape import DEFAULT_SEQUENCES

RANDOM_SEED = 2**32 - 1
"""llama.cpp takes this seed to mean "any"."""
MAX_TOP = 100
STRUCTURED = ("json_schema", "json_object", "regex", "grammar", "choice")


def described(
    settings: EngineSettings,
    options: LlamaCppOptions,
    header: Header,
    shape: Shape,
    *,
    context_length: int,
    model_digest: str,
    devices: tuple[str, ...],
    can_constrain: bool,
) -> ModelInfo:
    """Return the description of a model that runs."""
    batching = Batching(
        max_sequences=shape.sequences,
        max_batched_tokens=shape.batched_tokens,
        max_total_tokens=shape.sequences * context_length,
    )
    capabilities = _capabilities(
        has_template=bool(header.chat_template),
        has_pieces=header.pieces is not None,
        can_constrain=can_constrain,
        prefix_cache=options.prefix_cache,
    )
    return ModelInfo(
        engine="llama.cpp",
        engine_version=f"xllamacpp {version('xllamacpp')}",
        context_length=context_length,
        max_running=shape.sequences,
        capabilities=capabilities,
        defaults=capabilities.neutral(),
        vocabulary_size=header.vocabulary_size,
        model_digest=model_digest,
        tokenizer_digest=header.tokenizer_digest,
        precision=header.precision,
        eos_token_ids=header.eos_token_ids,
        devices=devices or ("CPU",),
        effective=EngineSettings(batching=batching, parallelism=settings.parallelism),
        reasons=_reasons(settings.batching, batching),
    )


def _capabilities(*, has_template: bool, has_pieces: bool, can_constrain: bool, prefix_cache: bool) -> Capabilities:
    names = ["text", "token_ids"]
    names += ["chat", "chat.template_arguments"] if has_template else []
    names += [f"sampling.{name}" for name in ("max_tokens", "temperature", "top_p", "min_p", "typical_p")]
    names += ["sampling.logit_bias", "sampling.ignore_eos", "adapter"]
    names += [f"structured_output.{kind}" for kind in STRUCTURED] if can_constrain else []
    return Capabilities(
        parameters=parameters(
            *names,
            sampling__seed=Range(0, RANDOM_SEED - 1),
            sampling__top_k=Range(0, 2**31 - 1),
            sampling__repetition_penalty=Range(minimum=0.01),
            logprobs__top=Range(0, MAX_TOP),
        ),
        token_ids=True,
        tokenize=True,
        detokenize=has_pieces,
        adapters="dynamic",
        determinism="solo",
        logprobs_mode="raw",
        grammar_syntax="gbnf" if can_constrain else "",
        prefix_cache=prefix_cache,
        joined_characters=True,
    )


BOUNDS = Bounds(
    least=_capabilities(has_template=False, has_pieces=False, can_constrain=False, prefix_cache=False),
    most=_capabilities(has_template=True, has_pieces=True, can_constrain=True, prefix_cache=True),
)


def _reasons(asked: Batching, effective: Batching) -> dict[str, str]:
    reasons = {}
    if asked.max_sequences is None:
        reasons["batching.max_sequences"] = f"{DEFAULT_SEQUENCES} unless told"
    if asked.max_batched_tokens is None:
        reasons["batching.max_batched_tokens"] = f"{effective.max_batched_tokens} unless told"
    if asked.max_total_tokens != effective.max_total_tokens:
        reasons["batching.max_total_tokens"] = (
            "each sequence gets the same share, in units of 256 tokens, at most what the model was trained for"
        )
    return reasons
