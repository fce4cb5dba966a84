"""From a request to vLLM's `SamplingParams`, field by field."""

from typing import Any

from bellhousing.errors import InvalidRequest, Violation
from bellhousing.requests import GenerationRequest, Priority, StructuredOutput

LEAST_TEMPERATURE = 0.01
"""vLLM raises a smaller temperature above 0 to this, and tells only its log."""

PRIORITIES: dict[Priority, int] = {"high": -1, "normal": 0, "low": 1}
"""vLLM takes the smaller number first."""


def sampling_fields(request: GenerationRequest, room: int) -> dict[str, Any]:
    """Return the fields of `SamplingParams` but for structured output and the kind of output.

    `room` is the number of tokens that fit behind the prompt. Raises `InvalidRequest` for what vLLM would change.
    """
    sampling = request.sampling
    if sampling.temperature is not None and 0 < sampling.temperature < LEAST_TEMPERATURE:
        found = f"must be 0 or at least {LEAST_TEMPERATURE}, found {sampling.temperature:g}"
        raise InvalidRequest([Violation("sampling.temperature", found)])
    fields = {
        "n": sampling.n,
        "max_tokens": min(sampling.max_tokens or room, room),
        "min_tokens": min(sampling.min_tokens or 0, room),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "seed": sampling.seed,
        "logit_bias": dict(sampling.logit_bias) if sampling.logit_bias else None,
        "ignore_eos": sampling.ignore_eos,
        "stop_token_ids": list(request.stopping.token_ids) or None,
        "logprobs": request.logprobs,
        "prompt_logprobs": request.prompt_logprobs,
    }
    return {name: value for name, value in fields.items() if value is not None}


def structured_fields(wanted: StructuredOutput) -> dict[str, Any]:
    """Return the fields of `StructuredOutputsParams`."""
    match wanted.kind:
        case "json_schema":
            return {"json": wanted.value}
        case "json_object":
            return {"json_object": True}
        case "choice":
            return {"choice": list(wanted.options)}
        case kind:
            return {kind: wanted.value}
