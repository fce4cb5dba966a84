"""What the simulator tells of itself, and the settings that it refuses."""

from dataclasses import replace

from bellhousing.backend import ModelInfo
from bellhousing.capabilities import Capabilities, Range, parameters
from bellhousing.errors import ConfigurationError
from bellhousing.settings import Batching, EngineSettings, ModelSpec, Parallelism
from bellhousing_simulator.chain import VERSION, Chain
from bellhousing_simulator.options import SimulatorOptions
from bellhousing_simulator.vocabulary import EOS, TOKENIZER_DIGEST, VOCABULARY_SIZE

CAPABILITIES = Capabilities(
    parameters=parameters(
        "text",
        "token_ids",
        "chat",
        "sampling.max_tokens",
        "sampling.min_tokens",
        "sampling.temperature",
        "sampling.top_p",
        "sampling.top_k",
        "sampling.min_p",
        "sampling.typical_p",
        "sampling.repetition_penalty",
        "sampling.presence_penalty",
        "sampling.frequency_penalty",
        "sampling.seed",
        "sampling.logit_bias",
        "sampling.n",
        "sampling.ignore_eos",
        "structured_output.choice",
        "adapter",
        logprobs__top=Range(maximum=VOCABULARY_SIZE),
        logprobs__prompt_top=Range(maximum=VOCABULARY_SIZE),
    ),
    token_ids=True,
    tokenize=True,
    detokenize=True,
    embed=True,
    adapters="dynamic",
    sleep=True,
    determinism="batch_invariant",
    logprobs_mode="raw",
)


def model_info(spec: ModelSpec, options: SimulatorOptions) -> ModelInfo:
    """Return what a simulator with these settings serves."""
    batching = Batching(max_sequences=max_running(spec, options))
    ranks = spec.settings.parallelism.tensor
    return ModelInfo(
        engine="simulator",
        engine_version=VERSION,
        context_length=options.context_length,
        max_running=max_running(spec, options),
        capabilities=replace(CAPABILITIES, prefix_cache=options.prefix_cache),
        defaults=CAPABILITIES.neutral(),
        vocabulary_size=VOCABULARY_SIZE,
        model_digest=Chain(options.weights_seed, options.end_probability).digest,
        tokenizer_digest=TOKENIZER_DIGEST,
        precision="float64",
        eos_token_ids=(EOS,),
        devices=tuple([f"simulated:{rank}" for rank in range(ranks)]),
        effective=EngineSettings(batching=batching, parallelism=Parallelism(tensor=ranks)),
    )


def max_running(spec: ModelSpec, options: SimulatorOptions) -> int:
    """Return how many requests run at once."""
    return spec.settings.batching.max_sequences or options.max_running


def refuse(spec: ModelSpec, options: SimulatorOptions, *, backend: str, is_inline: bool) -> None:
    """Raise `ConfigurationError` for settings that the simulator cannot honour."""
    batching, parallelism = spec.settings.batching, spec.settings.parallelism
    found = {
        "model": (str(spec.path) if spec.path else None, None),
        "batching.max_batched_tokens": (batching.max_batched_tokens, None),
        "batching.max_total_tokens": (batching.max_total_tokens, None),
        "parallelism.pipeline": (parallelism.pipeline, 1),
        "parallelism.data": (parallelism.data, 1),
    }
    wrong = [
        f"{name}: expected {'none' if wanted is None else wanted}, found {value}"
        for name, (value, wanted) in found.items()
        if value != wanted
    ]
    if is_inline and any(fault.kind == "crash" for fault in options.faults):
        wrong.append("fault 'crash' would kill the server: expected backend 'simulator-process'")
    if wrong:
        raise ConfigurationError(f"backend {backend!r} cannot honour these settings: {'; '.join(wrong)}")
