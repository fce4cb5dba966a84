"""From vLLM's exceptions to ours: the only place that knows them."""

import re

from bellhousing.errors import BellhousingError, EngineFault, EngineUnavailable, InvalidRequest, Overloaded, Violation
from bellhousing.requests import GenerationRequest

NAME = "vllm"
RETRY_SECONDS = 1.0
SAMPLING = {
    "n", "max_tokens", "min_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty",
    "presence_penalty", "frequency_penalty", "seed", "logit_bias",
}  # fmt: skip
OTHERS = {"logprobs": "logprobs.top", "prompt_logprobs": "logprobs.prompt_top", "stop_token_ids": "stopping.token_ids"}


def error_of(found: Exception, request: GenerationRequest) -> BellhousingError:
    """Return the error of an exception that vLLM raised for a request."""
    kind = type(found).__name__
    if kind == "EngineDeadError":
        return dead("a request found it dead")
    if kind in {"QueueOverflowError", "MaxQueuedTokensError"}:
        return Overloaded("vLLM's queue is full", backend=NAME, engine_code=kind, retry_after=RETRY_SECONDS)
    if isinstance(found, ValueError) or "VLLMClientError" in {base.__name__ for base in type(found).__mro__}:
        return invalid(str(found), str(getattr(found, "parameter", "") or ""), request, backend=NAME, code=kind)
    cause = found.__cause__
    detail = f"{type(cause).__name__}: {cause}" if cause else str(found)
    return EngineFault(f"vLLM failed: {detail}", backend=NAME, engine_code=kind)


def dead(how: str) -> EngineUnavailable:
    """Return the error of an engine that has died."""
    return EngineUnavailable(
        f"vLLM's engine died: {how}", reason="ENGINE_DIED", backend=NAME, retry_after=RETRY_SECONDS
    )


def invalid(message: str, parameter: str, request: GenerationRequest, *, backend: str, code: str) -> InvalidRequest:
    """Return the error of a request that vLLM finds invalid; `parameter` is its own name of the field, or empty."""
    return InvalidRequest([Violation(_field(message, parameter, request), message)], backend=backend, engine_code=code)


def _field(message: str, parameter: str, request: GenerationRequest) -> str:
    """Return the path of the field an error is about; vLLM names it only now and then."""
    if parameter in SAMPLING:
        return f"sampling.{parameter}"
    if parameter in OTHERS:
        return OTHERS[parameter]
    if request.structured_output:
        return f"structured_output.{request.structured_output.kind}"
    words = set(re.findall(r"\w+", message))
    return next((f"sampling.{name}" for name in sorted(SAMPLING & words)), "text")
