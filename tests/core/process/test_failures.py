import msgspec
import pytest

from bellhousing.errors import (
    BellhousingError,
    ContextOverflow,
    EngineFault,
    InvalidRequest,
    NotFound,
    Unsupported,
    Violation,
)
from bellhousing.process.failures import Failure, describe, rebuild, tree

KINDS = [kind for kind in tree(BellhousingError) if kind.__module__ == "bellhousing.errors"]


class OwnFault(EngineFault):
    """A class that only a backend has."""


def example(kind: type[BellhousingError]) -> BellhousingError:
    """Return an error of the class with all its data set."""
    if kind is InvalidRequest:
        return InvalidRequest([Violation("sampling.top_k", "too big"), Violation("text", "empty")], hint="Mend it.")
    if kind is ContextOverflow:
        return ContextOverflow(5000, 4096, backend="echo")
    if kind is NotFound:
        return NotFound("model", "smol", ["smollm", "llama"], hint="Load it.")
    return kind(
        "it failed",
        reason="REASON",
        hint="Mend it.",
        backend="echo",
        engine_code="E7",
        retry_after=1.5,
        metadata={"key": "value"},
    )


def sent(error: BaseException) -> BellhousingError:
    return rebuild(msgspec.msgpack.decode(msgspec.msgpack.encode(describe(error, "echo")), type=Failure))


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_arrives_with_its_class_and_all_its_data(kind: type[BellhousingError]) -> None:
    error = example(kind)
    arrived = sent(error)
    assert type(arrived) is kind
    assert vars(arrived) == vars(error)
    assert str(arrived) == str(error)
    assert arrived.code is error.code


def test_a_class_that_only_the_backend_has_arrives_as_its_nearest_known_base() -> None:
    failure = msgspec.structs.replace(describe(OwnFault("odd"), "echo"), kinds=("Unknown", "EngineFault"))
    assert describe(OwnFault("odd"), "echo").kinds == ("OwnFault", "EngineFault", "BellhousingError")
    assert type(rebuild(failure)) is EngineFault


def test_any_other_exception_arrives_as_a_defect_of_the_backend() -> None:
    arrived = sent(ZeroDivisionError("by zero"))
    assert type(arrived) is EngineFault
    assert arrived.reason == "BACKEND_DEFECT"
    assert arrived.backend == "echo"
    assert arrived.message == "backend 'echo' failed with ZeroDivisionError: by zero"


def test_an_operation_that_a_backend_has_not_arrives_as_unsupported() -> None:
    assert type(sent(NotImplementedError())) is Unsupported


def test_a_defect_brings_a_traceback_without_the_values_of_variables() -> None:
    prompt = "a secret prompt"
    try:
        len(prompt) / 0
    except ZeroDivisionError as error:
        traceback = describe(error, "echo").traceback
    assert "test_failures.py" in traceback
    assert prompt not in traceback
    assert describe(EngineFault("known"), "echo").traceback == ""
