"""From the errors of a TGI router to ours: the only place that knows them.

A router tells an error's type in a JSON body, and the same inside a stream that began with status 200. What never
reached its handlers (bad JSON, a missing key, a proxy's own page) has only a status.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from bellhousing.errors import (
    BellhousingError,
    ContextOverflow,
    EngineFault,
    EngineUnavailable,
    InvalidRequest,
    Overloaded,
    PermissionDenied,
    StreamBroken,
    Violation,
)
from bellhousing.http import Unanswered
from bellhousing.requests import GenerationRequest

RETRY_SECONDS = 1.0
SHOWN = 500
"""Characters of a body that is no error of TGI's own: enough to recognise a proxy's page."""
FIELDS: Mapping[str, str] = {
    "inputs": "text",
    "max_new_tokens": "sampling.max_tokens",
    "temperature": "sampling.temperature",
    "top_p": "sampling.top_p",
    "top_k": "sampling.top_k",
    "typical_p": "sampling.typical_p",
    "repetition_penalty": "sampling.repetition_penalty",
    "frequency_penalty": "sampling.frequency_penalty",
    "seed": "sampling.seed",
    "top_n_tokens": "logprobs.top",
    "adapter_id": "adapter",
}
"""The contract's name of each parameter that a router's message may name."""
TOO_LONG = (
    re.compile(r"`inputs` must have less than (?P<limit>\d+) tokens\. Given: (?P<found>\d+)"),
    re.compile(r"`max_new_tokens` must be <= (?P<limit>\d+)\. Given: (?P<found>\d+) `inputs` tokens"),
)


def invalid(message: str, code: str, request: GenerationRequest, backend: str) -> BellhousingError:
    """Return the error of a request that the router finds invalid."""
    for pattern in TOO_LONG:
        if found := pattern.search(message):
            return ContextOverflow(int(found["found"]), int(found["limit"]), backend=backend)
    if "grammar" in message and request.structured_output:
        field = f"structured_output.{request.structured_output.kind}"
    else:
        field = next((FIELDS[name] for name in re.findall(r"`(\w+)`", message) if name in FIELDS), "text")
    return InvalidRequest([Violation(field, message)], backend=backend, engine_code=code)


def _chat(message: str, code: str, _request: GenerationRequest, backend: str) -> BellhousingError:
    refused = f"the model's template refuses it: {message}"
    return InvalidRequest([Violation("chat", refused)], backend=backend, engine_code=code)


def _fault(message: str, code: str, _request: GenerationRequest, backend: str) -> BellhousingError:
    return EngineFault(f"the TGI router failed: {message}", backend=backend, engine_code=code)


def _broken(message: str, code: str, _request: GenerationRequest, backend: str) -> BellhousingError:
    return StreamBroken(f"the TGI router lost the generation: {message}", backend=backend, engine_code=code)


def _full(_message: str, code: str, _request: GenerationRequest, backend: str) -> BellhousingError:
    return Overloaded(
        "the TGI router has as many requests as it takes (--max-concurrent-requests)",
        backend=backend,
        engine_code=code,
        retry_after=RETRY_SECONDS,
    )


def _unwell(message: str, code: str, _request: GenerationRequest, backend: str) -> BellhousingError:
    text = f"the TGI router is not ready: {message}"
    return EngineUnavailable(text, backend=backend, engine_code=code, retry_after=RETRY_SECONDS)


def _refused(message: str, code: str, _request: GenerationRequest, backend: str) -> BellhousingError:
    text = f"the TGI router refuses our key: HTTP {code}{f': {message}' if message else ''}"
    return PermissionDenied(text, backend=backend, engine_code=code)


def _too_large(message: str, code: str, _request: GenerationRequest, backend: str) -> BellhousingError:
    refused = f"the router takes no body of this size (--payload-limit): {message}"
    return InvalidRequest([Violation("text", refused)], backend=backend, engine_code=code)


Translation = Callable[[str, str, GenerationRequest, str], BellhousingError]

BY_TYPE: Mapping[str, Translation] = {
    "validation": invalid,
    "template_error": _chat,
    "missing_template_variable": _chat,
    "tool_error": _fault,
    "generation": _fault,
    "overloaded": _full,
    "incomplete_generation": _broken,
    "incomplete_generation_stream": _broken,
    "stream_serialization_error": _broken,
    "healthcheck": _unwell,
}
"""Every `error_type` of TGI 3.3. No request of ours has tools, so `tool_error` is the router's fault."""

BY_STATUS: Mapping[int, Translation] = {
    401: _refused,
    403: _refused,
    413: _too_large,
    429: _full,
    502: _unwell,
    503: _unwell,
    504: _unwell,
}
"""Answers without a type. Any other, such as 400 for JSON that it cannot read, is a fault: our bodies are valid."""


def error_of(status: int, body: bytes, request: GenerationRequest, backend: str) -> BellhousingError:
    """Return the error of an answer that is none of success."""
    message, kind = _read(body)
    if kind:
        return error_of_frame(message, kind, request, backend)
    return BY_STATUS.get(status, _fault)(message or f"HTTP {status}", str(status), request, backend)


def error_of_frame(message: str, kind: str, request: GenerationRequest, backend: str) -> BellhousingError:
    """Return the error of an `error_type`; one that no version had so far is a fault."""
    return BY_TYPE.get(kind, _fault)(message, kind or "untyped", request, backend)


def unreachable(error: Unanswered, backend: str) -> EngineUnavailable:
    """Return the error of a router that does not answer, or broke off."""
    text = f"the TGI router does not answer: {error}"
    return EngineUnavailable(text, backend=backend, retry_after=RETRY_SECONDS)


def dead(error: BellhousingError, backend: str) -> EngineUnavailable:
    """Return the error of a request that failed because the engine behind the router has died."""
    return EngineUnavailable(
        f"TGI's engine died: {error.message}", reason="ENGINE_DIED", backend=backend, retry_after=RETRY_SECONDS
    )


def unreadable(what: str, found: str, backend: str) -> EngineFault:
    """Return the error of an answer that is not what this version of the API says."""
    return EngineFault(f"expected {what} of a TGI router, found {found[:SHOWN]!r}", backend=backend)


def _read(body: bytes) -> tuple[str, str]:
    """Return the message and the `error_type` of an error's body; a body that is no JSON is the message."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")[:SHOWN].strip(), ""
    if not isinstance(found, dict):
        return str(found)[:SHOWN], ""
    return str(found.get("error", "")), str(found.get("error_type") or "")
