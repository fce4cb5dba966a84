"""From a gRPC failure to the class of `bellhousing.errors` that the server raised, with everything it carried."""

from collections.abc import Iterable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from bellhousing import errors
from bellhousing.errors import BellhousingError, InvalidRequest, NotFound, Violation
from bellhousing.status import DETAILS_KEY

CLASSES: dict[grpc.StatusCode, type[BellhousingError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, BellhousingError) and kind is not BellhousingError
}
# Two classes share FAILED_PRECONDITION and INTERNAL is the root's own; these are what a caller of a service means.
CLASSES[grpc.StatusCode.FAILED_PRECONDITION] = errors.PreconditionFailed
CLASSES[grpc.StatusCode.INTERNAL] = errors.EngineFault

Detail = TypeVar("Detail", bound=Message)


class RpcFailed(BellhousingError):
    """A failure whose code no other class has; `status_code` is gRPC's."""

    def __init__(self, message: str, status_code: grpc.StatusCode) -> None:
        super().__init__(message, reason=status_code.name)
        self.status_code = status_code


def failure(error: grpc.RpcError) -> BellhousingError:
    """Return the error to raise for a failed call."""
    code, text = error.code(), error.details() or ""
    status = _status(error.trailing_metadata() or ())
    info = _detail(status, error_details_pb2.ErrorInfo())
    ours = _build(code, text, status, info)
    if info is not None:
        ours.reason = info.reason
        ours.metadata = dict(info.metadata)
        ours.backend = ours.metadata.get("backend", "")
        ours.engine_code = ours.metadata.get("engine_code", "")
    retry = _detail(status, error_details_pb2.RetryInfo())
    if retry is not None:
        ours.retry_after = retry.retry_delay.ToNanoseconds() / 1e9
    return ours


def is_partial(error: BellhousingError) -> bool:
    """Tell whether the server had sent output before it failed."""
    return error.metadata.get("partial_output") == "true"


def _build(
    code: grpc.StatusCode, text: str, status: status_pb2.Status | None, info: error_details_pb2.ErrorInfo | None
) -> BellhousingError:
    kind = CLASSES.get(code)
    if kind is None:
        return RpcFailed(text, code)
    resource = _detail(status, error_details_pb2.ResourceInfo())
    if kind is NotFound and resource is not None:
        error: BellhousingError = NotFound(resource.resource_type, resource.resource_name)
        error.near = tuple(filter(None, resource.description.split(", ")))  # type: ignore[attr-defined]
    elif kind is InvalidRequest:
        bad = _detail(status, error_details_pb2.BadRequest())
        error = InvalidRequest(Violation(v.field, v.description) for v in (bad.field_violations if bad else ()))
    elif kind is errors.ContextOverflow:
        numbers = info.metadata if info is not None else {}
        error = errors.ContextOverflow(int(numbers.get("prompt_tokens", "0")), int(numbers.get("context_length", "0")))
    elif kind is NotFound:
        error = NotFound("method", text)
    else:
        error = kind(text)
    error.message = text
    return error


def _status(metadata: Iterable[Any]) -> status_pb2.Status | None:
    for key, value in metadata:
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _detail(status: status_pb2.Status | None, empty: Detail) -> Detail | None:
    for packed in status.details if status is not None else ():
        if packed.Unpack(empty):
            return empty
    return None
