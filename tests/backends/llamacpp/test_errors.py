import json

import pytest

from bellhousing.errors import (
    BellhousingError,
    ContextOverflow,
    EngineFault,
    EngineUnavailable,
    InvalidRequest,
    PreconditionFailed,
    Unsupported,
)
from bellhousing.requests import StructuredOutput
from bellhousing_llamacpp.errors import error_of, error_of_body, gone, template_error

RECORDED: list[tuple[int, str, str, type[BellhousingError]]] = [
    (400, "exceed_context_size_error", "the request exceeds the available context size", ContextOverflow),
    (400, "invalid_request_error", "Prompt contains invalid tokens", InvalidRequest),
    (400, "invalid_request_error", "Field 'top_k': type must be number, but is string", EngineFault),
    (400, "invalid_request_error", "Failed to initialize samplers: failed to parse grammar", EngineFault),
    (401, "authentication_error", "Invalid API Key", EngineFault),
    (403, "permission_error", "not allowed", EngineFault),
    (404, "not_found_error", "File Not Found", EngineFault),
    (500, "server_error", "Context size has been exceeded.", EngineFault),
    (500, "server_error", "got exception: Unexpected empty grammar stack after accepting piece: 6 (38)", EngineFault),
    (501, "not_supported_error", "This server does not support embeddings.", Unsupported),
    (503, "unavailable_error", "Loading model", EngineUnavailable),
    (418, "an error to come", "no idea", EngineFault),
]


@pytest.mark.parametrize(("status", "kind", "message", "expected"), RECORDED)
def test_every_error_of_the_engine_becomes_one_of_ours(
    status: int, kind: str, message: str, expected: type[BellhousingError]
) -> None:
    body = {"code": status, "message": message, "type": kind, "n_prompt_tokens": 600, "n_ctx": 512}
    error = error_of(status, json.dumps({"error": body}).encode())
    assert type(error) is expected
    assert error.backend == "llamacpp"
    if expected is EngineFault:
        assert error.engine_code == kind
        assert message in error.message


def test_an_overflow_has_both_numbers() -> None:
    error = error_of_body({"type": "exceed_context_size_error", "message": "", "n_prompt_tokens": 600, "n_ctx": 512})
    assert isinstance(error, ContextOverflow)
    assert (error.prompt_tokens, error.context_length) == (600, 512)


def test_a_grammar_that_is_refused_names_the_field_that_brought_it() -> None:
    body = {"code": 400, "message": "Failed to initialize samplers: x", "type": "invalid_request_error"}
    error = error_of_body(body, StructuredOutput("regex", "x"))
    assert isinstance(error, InvalidRequest)
    assert error.violations[0].field == "structured_output.regex"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message": "x"}', b"null"])
def test_an_answer_that_is_no_error_of_the_engine_is_a_fault(body: bytes) -> None:
    error = error_of(502, body)
    assert isinstance(error, EngineFault)
    assert error.engine_code == "502"


def test_an_error_that_is_only_a_text_is_a_fault() -> None:
    assert "went wrong" in error_of_body("it went wrong").message


def test_a_template_that_refuses_a_chat_is_a_fault_of_the_request() -> None:
    error = template_error(EngineFault("roles must alternate"))
    assert isinstance(error, InvalidRequest)
    assert error.violations[0].field == "chat"
    other = PreconditionFailed("x")
    assert template_error(other) is other


def test_a_broken_connection_is_an_engine_that_is_not_there() -> None:
    assert "broke off" in gone(EOFError()).message
    assert "ConnectionRefusedError" in gone(ConnectionRefusedError("no")).message
