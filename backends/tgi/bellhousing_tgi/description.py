"""What the backends say of a router: the capabilities are those of TGI's native API, whoever started it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bellhousing.backend import ModelInfo
from bellhousing.capabilities import AdapterSupport, Bounds, Capabilities, Range, parameters
from bellhousing.settings import EngineSettings
from bellhousing_tgi.limits import Limits

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
    is_rolling: bool = False,
    model_digest: str = "",
    precision: str = "",
) -> ModelInfo:
    """Return the description of the model that a router serves; `adapters` are name to digest.

    With `is_rolling` others can be loaded while it serves.
    """
    most = router.limits.max_concurrent_requests
    support: AdapterSupport = "dynamic" if is_rolling else "static" if adapters else "none"
    capabilities = _capabilities(support, adapters, has_template=router.has_template, has_tokens=router.has_tokens)
    return ModelInfo(
        engine="TGI",
        engine_version=str(router.info["version"]),
        context_length=router.limits.max_total_tokens,
        max_running=min(effective.batching.max_sequences or most, most),
        capabilities=capabilities,
        defaults=capabilities.neutral(),
        model_digest=model_digest or str(router.info.get("model_sha") or ""),
        precision=precision,
        effective=effective,
        reasons=reasons,
    )


def _capabilities(
    support: AdapterSupport, adapters: Mapping[str, str], *, has_template: bool, has_tokens: bool
) -> Capabilities:
    names = ["text"]
    names += ["chat"] if has_template else []
    names += [f"sampling.{name}" for name in SAMPLING]
    names += [f"structured_output.{kind}" for kind in STRUCTURED]
    names += [] if support == "none" else ["adapter"]
    return Capabilities(
        parameters=parameters(*names, sampling__top_k=Range(0, MAX_TOP_K), logprobs__top=Range(0, MAX_TOP_TOKENS)),
        token_ids=True,
        tokenize=has_tokens,
        adapters=support,
        static_adapters=adapters,
        determinism="solo",
        logprobs_mode="processed",
    )


def _bounds(support: AdapterSupport) -> Bounds:
    return Bounds(
        least=_capabilities("none", {}, has_template=False, has_tokens=False),
        most=_capabilities(support, {}, has_template=True, has_tokens=True),
    )


BOUNDS = _bounds("static")
MANAGED_BOUNDS = _bounds("dynamic")
