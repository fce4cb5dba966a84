import pytest

from bellhousing.errors import (
    BellhousingError,
    EngineFault,
    EngineUnavailable,
    InvalidRequest,
    Overloaded,
    PermissionDenied,
    StreamBroken,
)
from bellhousing.requests import GenerationRequest
from bellhousing_tgi.errors import BY_STATUS, BY_TYPE, error_of, error_of_frame

REQUEST = GenerationRequest("x", "x")
TYPES: dict[str, type[BellhousingError]] = {
    "validation": InvalidRequest,
    "template_error": InvalidRequest,
    "missing_template_variable": InvalidRequest,
    "tool_error": EngineFault,
    "generation": EngineFault,
    "overloaded": Overloaded,
    "incomplete_generation": StreamBroken,
    "incomplete_generation_stream": StreamBroken,
    "stream_serialization_error": StreamBroken,
    "healthcheck": EngineUnavailable,
}
STATUSES: dict[int, type[BellhousingError]] = {
    401: PermissionDenied,
    403: PermissionDenied,
    413: InvalidRequest,
    429: Overloaded,
    502: EngineUnavailable,
    503: EngineUnavailable,
    504: EngineUnavailable,
}


@pytest.mark.parametrize("kind", BY_TYPE)
def test_every_type_of_error_becomes_one_of_ours_with_its_code(kind: str) -> None:
    error = error_of_frame("the reason", kind, REQUEST, "tgi")
    assert type(error) is TYPES[kind]
    assert (error.backend, error.engine_code) == ("tgi", kind)


@pytest.mark.parametrize("status", [*range(400, 432), *range(500, 512), 204, 302, 599])
def test_every_status_without_a_type_becomes_one_of_ours(status: int) -> None:
    error = error_of(status, b"the reason", REQUEST, "tgi")
    assert type(error) is STATUSES.get(status, EngineFault)
    assert error.engine_code == str(status)


def test_the_tables_are_those_that_are_tested() -> None:
    assert BY_TYPE.keys() == TYPES.keys()
    assert BY_STATUS.keys() == STATUSES.keys()


def test_a_type_that_no_version_had_is_a_fault_that_tells_it() -> None:
    error = error_of(500, b'{"error": "odd", "error_type": "brand_new"}', REQUEST, "tgi")
    assert type(error) is EngineFault
    assert (error.message, error.engine_code) == ("the TGI router failed: odd", "brand_new")


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b"null", b'{"error": null}', b"<html></html>"])
def test_a_body_that_is_no_error_of_tgi_is_read_without_another_error(body: bytes) -> None:
    assert type(error_of(500, body, REQUEST, "tgi")) is EngineFault


def test_a_long_page_is_shortened() -> None:
    assert len(error_of(500, b"x" * 100_000, REQUEST, "tgi").message) < 1000
