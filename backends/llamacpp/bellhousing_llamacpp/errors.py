"""From llama.cpp's errors to ours: the only place that knows them."""

import json
from typing import Any

from bellhousing.errors import (
    BellhousingError,
    ContextOverflow,
    EngineFault,
    EngineUnavailable,
    InvalidRequest,
    Violation,
)
from bellhousing.requests import StructuredOutput

NAME = "llamacpp"


def error_of(status: int, body: bytes, structured: StructuredOutput | None = None) -> BellhousingError:
    """Return the error of an HTTP answer that is none of success."""
    try:
        found = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return EngineFault(f"llama.cpp answered HTTP {status} without an error", backend=NAME, engine_code=str(status))
    return error_of_body(found, structured)


def error_of_body(found: Any, structured: StructuredOutput | None = None) -> BellhousingError:
    """Return the error of llama.cpp's `error` object, from an answer or from inside a stream."""
    body: dict[str, Any] = found if isinstance(found, dict) else {"message": str(found)}
    kind, message, code = str(body.get("type", "")), str(body.get("message", "")), body.get("code", 500)
    if kind == "exceed_context_size_error" or "n_prompt_tokens" in body:
        return ContextOverflow(int(body.get("n_prompt_tokens", 0)), int(body.get("n_ctx", 0)), backend=NAME)
    if structured is not None and ("grammar" in message or "sampler" in message or "schema" in message):
        return InvalidRequest([Violation(f"structured_output.{structured.kind}", "the engine cannot compile it")])
    if "invalid tokens" in message:
        return InvalidRequest([Violation("token_ids", "must be ids of the model's vocabulary")])
    if kind == "unavailable_error" or code == 503:
        return EngineUnavailable(f"llama.cpp is not ready: {message}", backend=NAME, retry_after=1.0)
    return EngineFault(f"llama.cpp failed: {message}", backend=NAME, engine_code=kind or str(code))
