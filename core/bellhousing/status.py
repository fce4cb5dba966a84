"""Turn an error into `google.rpc.Status` with details, and back."""

from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from bellhousing.errors import BellhousingError, InvalidRequest, NotFound

DOMAIN = "bellhousing"
"""`ErrorInfo.domain` of every error of ours."""

DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata key that carries a serialised `google.rpc.Status` (gRPC's rich error model)."""


PERCENT = ord("%")
MOST_MESSAGE, MOST_STATUS = 1_500, 6_000
"""Bytes of a message as gRPC sends it, and of a status: peers limit the trailers, which have both, to 8 KiB in all."""


def sendable(text: str) -> str:
    """Return a text that can be sent: what is no character is escaped, and what is too long is cut."""
    raw, size = text[: MOST_MESSAGE + 1].encode(errors="backslashreplace"), 0
    for end, byte in enumerate(raw):
        size += 1 if 0x20 <= byte < 0x7F and byte != PERCENT else 3  # gRPC sends any other as %XX
        if size > MOST_MESSAGE:
            return raw[:end].decode(errors="ignore") + " ..."
    return raw.decode()


def rpc_status(error: BellhousingError, *, partial_output: bool = False) -> status_pb2.Status:
    """Return the status of `error`; `partial_output` marks that a delta had been sent.

    It is small enough for the trailers: a long message is cut, and details that have no room are left out.
    """
    status = _whole(error, partial_output=partial_output)
    while status.ByteSize() > MOST_STATUS and status.details:
        del status.details[-1]
    return status


def _whole(error: BellhousingError, *, partial_output: bool) -> status_pb2.Status:
    status = status_pb2.Status(code=error.code.value[0], message=sendable(str(error)))
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    info.metadata["partial_output"] = "true" if partial_output else "false"
    if error.backend:
        info.metadata["backend"] = error.backend
    if error.engine_code:
        info.metadata["engine_code"] = error.engine_code
    _add(status, info)
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after * 1e9))
        _add(status, error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, InvalidRequest):
        fields = [
            error_details_pb2.BadRequest.FieldViolation(field=sendable(v.field), description=sendable(v.description))
            for v in error.violations
        ]
        _add(status, error_details_pb2.BadRequest(field_violations=fields))
    if isinstance(error, NotFound):
        _add(
            status,
            error_details_pb2.ResourceInfo(
                resource_type=error.kind, resource_name=sendable(error.name), description=", ".join(error.near)
            ),
        )
    return status


def _add(status: status_pb2.Status, detail: object) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)  # type: ignore[arg-type]
    status.details.append(packed)


def code_name(code: int) -> str:
    """Return the name of a `google.rpc.Code`, such as `NOT_FOUND`."""
    return str(code_pb2.Code.Name(code))
