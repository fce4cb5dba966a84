"""From Ollama's answers to our errors: the only place that knows them."""

import json
import re
from typing import Any

from bellhousing.errors import (
    BellhousingError,
    ContextOverflow,
    EngineFault,
    EngineUnavailable,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    Unsupported,
    Violation,
)
from bellhousing.http import Unanswered
from bellhousing.requests import GenerationRequest

NAME = "ollama"
RETRY_SECONDS = 1.0
RUNNER_DIED = re.compile(
    r"error was encountered while running the model|llama-server process has terminated|runner has unexpectedly stopped"
    r"|connection refused|connection reset|unexpected EOF|llama-server .*error: .*(EOF|reset|refused)"
)
"""The runner of the model is gone; Ollama starts another for the next request."""
BAD_FORM = re.compile(r"invalid format|json.?schema|grammar|regex|pattern|\$ref|Unrecognized schema", re.IGNORECASE)
DISK_FULL = re.compile(r"no space left on device|disk quota exceeded|file too large", re.IGNORECASE)
"""The system's words for ENOSPC, EDQUOT and EFBIG, as Ollama passes them on."""
TOLD = 300


def error_of(status: int, body: bytes, request: GenerationRequest | None = None) -> BellhousingError:
    """Return the error of an answer that is none of success."""
    return error_of_message(status, message_of(body), request)


def error_of_message(status: int, message: str, request: GenerationRequest | None = None) -> BellhousingError:
    """Return the error of Ollama's own words; inside a stream the status is that of a fault, 500."""
    code = str(status)
    if overflow := _overflow(message):
        return overflow
    message = _unwrapped(message)
    if status in {401, 403}:
        return PermissionDenied(
            f"Ollama refuses us: HTTP {status}",
            backend=NAME,
            engine_code=code,
            hint="It takes only hosts and origins that it knows: see OLLAMA_HOST and OLLAMA_ORIGINS.",
        )
    if status == 404 and "not found" in message and "model" in message:
        return _missing(message)
    if status == 501:
        return Unsupported(f"Ollama cannot do this with the model: {message}", backend=NAME, engine_code=code)
    if status == 503 and "server busy" in message:
        return Overloaded(
            "Ollama's queue for loading is full", backend=NAME, engine_code=code, retry_after=RETRY_SECONDS
        )
    if status in {502, 503, 504}:
        return _unavailable(f"Ollama is not ready: {message}", code)
    if request and request.structured_output and BAD_FORM.search(message):
        path = f"structured_output.{request.structured_output.kind}"
        return InvalidRequest([Violation(path, message)], backend=NAME, engine_code=code)
    if RUNNER_DIED.search(message):
        return _unavailable(f"the runner of the model died: {message}", code, reason="RUNNER_DIED")
    if status == 400:
        return InvalidRequest([Violation(_prompt_field(request), message)], backend=NAME, engine_code=code)
    return EngineFault(f"Ollama answered HTTP {status}: {message}", backend=NAME, engine_code=code)


def gone(error: Unanswered) -> EngineUnavailable:
    """Return the error of a server that does not answer, or broke off."""
    return _unavailable(f"Ollama does not answer: {error}", "")


def broken(found: str, expected: str) -> EngineFault:
    """Return the error of an answer that is none of Ollama's."""
    return EngineFault(f"expected {expected} of Ollama, found {found}", reason="ENGINE_PROTOCOL", backend=NAME)


def message_of(body: bytes) -> str:
    """Return what an answer says: the text of its `error`, or a short piece of whatever it is."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        text = re.sub(r"\s+", " ", body.decode(errors="replace")).strip()
        kind = "a page of HTML: " if text.startswith("<") else ""
        return f"{kind}{text[:TOLD]}" if text else "nothing"
    inner = found.get("error", found) if isinstance(found, dict) else found
    if isinstance(inner, dict):
        inner = inner.get("message", inner)
    return inner if isinstance(inner, str) else str(inner)[:TOLD]


def _overflow(message: str) -> ContextOverflow | None:
    """Return the error of a prompt that is too long: llama-server's own JSON, as text inside Ollama's."""
    if "exceed_context_size_error" not in message:
        return None
    try:
        inner = json.loads(message)["error"]
        return ContextOverflow(int(inner["n_prompt_tokens"]), int(inner["n_ctx"]), backend=NAME)
    except (ValueError, KeyError, TypeError):
        return None


def _unwrapped(message: str) -> str:
    """Return the text of llama-server's own JSON, where a message is that."""
    if not message.startswith('{"error"'):
        return message
    return re.sub(r"\s+", " ", message_of(message.encode()))


def _missing(message: str) -> NotFound:
    found = re.search(r"['\"]([^'\"]+)['\"]", message)
    return NotFound("model", found[1] if found else message, hint="Ollama no longer has it.")


def _unavailable(message: str, code: str, reason: str = "") -> EngineUnavailable:
    return EngineUnavailable(message, reason=reason, backend=NAME, engine_code=code, retry_after=RETRY_SECONDS)


def _prompt_field(request: GenerationRequest | None) -> str:
    return "text" if request is None or isinstance(request.prompt, str) else "chat"
