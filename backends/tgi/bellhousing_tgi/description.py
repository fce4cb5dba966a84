"""What the backends say of a router: the capabilities are those of TGI's native API, whoever started it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bellhousing.backend import ModelInfo
from bellhousing.capabilities import Capabilities, Range, parameters
from bellhousing.requests import Sampling
from bellhousing.settings import EngineSettings
from bellhousing_tgi.limits import Limits

DEFAULTS = Sampling(temperature=1.0, top_p=1.0, top_k=0, typical_p=1.0, repetition_penalty=1.0, frequency_penalty=0.0)
"""The model's own distribution; TGI's default is greedy, which clients ask for with a temperature of 0."""
SAMPLING = ("max_tokens", "temperature", "top_p", "typical_p", "repetition_penalty", "frequency_penalty", "seed")
STRUCTURED = ("json_schema", "regex", "choice")
MAX_TOP_K = 2**31 - 1
MAX_TOP_TOKENS = 5
"""The router's default of `--max-top-n-tokens`; one started with less refuses more by itself."""


@dataclass(frozen=True, slots=True)
class Router:
    """What a router told when it was asked: `/info`, its limits, and what it does with prompts."""

    info: Mapping[str, Any]
    limits: Limits
    has_template: bool
    has_tokens: bool


def described(
    router: Router,
    effective: EngineSettings,
    reasons: Mapping[str, str],
    adapters: Mapping[str, str],
    *,
    model_digest: str = "",
    precision: str = "",
) -> ModelInfo:
    """Return the description of the model that a router serves; `adapters` are name to digest."""
    most = router.limits.max_concurrent_requests
    return ModelInfo(
        engine="TGI",
        engine_version=str(router.info["version"]),
        context_length=router.limits.max_total_tokens,
        max_running=min(effective.batching.max_sequences or most, most),
        capabilities=_capabilities(router, adapters),
        defaults=DEFAULTS,
        model_digest=model_digest or str(router.info.get("model_sha") or ""),
        precision=precision,
        effective=effective,
        reasons=reasons,
    )


def _capabilities(router: Router, adapters: Mapping[str, str]) -> Capabilities:
    names = ["text"]
    names += ["chat"] if router.has_template else []
    names += [f"sampling.{name}" for name in SAMPLING]
    names += [f"structured_output.{kind}" for kind in STRUCTURED]
    names += ["adapter"] if adapters else []
    return Capabilities(
        parameters=parameters(*names, sampling__top_k=Range(0, MAX_TOP_K), logprobs__top=Range(0, MAX_TOP_TOKENS)),
        token_ids=True,
        tokenize=router.has_tokens,
        adapters="static" if adapters else "none",
        static_adapters=adapters,
        determinism="solo",
        logprobs_mode="processed",
    )
