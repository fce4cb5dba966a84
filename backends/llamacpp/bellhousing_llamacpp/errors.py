"""From llama.cpp's errors to ours: the only place that knows them."""

import json
from typing import Any

from bellhousing.errors import (
    BellhousingError,
    ContextOverflow,
    EngineFault,
    EngineUnavailable,
    InvalidRequest,
    Unsupported,
    Violation,
)
from bellhousing.requests import StructuredOutput

NAME = "llamacpp"
RETRY_SECONDS = 1.0


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
    if kind == "exceed_context_size_error":
        return ContextOverflow(int(body.get("n_prompt_tokens", 0)), int(body.get("n_ctx", 0)), backend=NAME)
    if structured is not None and ("grammar" in message or "samplers" in message):
        violation = Violation(f"structured_output.{structured.kind}", "the engine cannot compile it")
        return InvalidRequest([violation], backend=NAME)
    if "invalid tokens" in message:
        return InvalidRequest([Violation("token_ids", "must be ids of the model's vocabulary")], backend=NAME)
    if kind == "not_supported_error":
        return Unsupported(f"llama.cpp cannot do this: {message}", backend=NAME, engine_code=kind)
    if kind == "unavailable_error":
        return EngineUnavailable(
            f"llama.cpp is not ready: {message}", backend=NAME, engine_code=kind, retry_after=RETRY_SECONDS
        )
    return EngineFault(f"llama.cpp failed: {message}", backend=NAME, engine_code=kind or str(code))


def template_error(found: BellhousingError) -> BellhousingError:
    """Return the error of a chat that the model's template refuses, such as one with two system messages."""
    if isinstance(found, EngineFault):
        return InvalidRequest([Violation("chat", f"the model's template refuses it: {found.message}")], backend=NAME)
    return found


def gone(error: Exception) -> EngineUnavailable:
    """Return the error of an engine that broke the connection, or does not take one."""
    what = "it broke off its answer" if isinstance(error, EOFError) else f"{type(error).__name__}: {error}"
    return EngineUnavailable(f"llama.cpp does not answer: {what}", backend=NAME, retry_after=RETRY_SECONDS)
