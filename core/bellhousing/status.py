"""Turn an error into `google.rpc.Status` with details, and back."""

from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from bellhousing.errors import BellhousingError, InvalidRequest, NotFound

DOMAIN = "bellhousing"
"""`ErrorInfo.domain` of every error of ours."""

DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata key that carries a serialised `google.rpc.Status` (gRPC's rich error model)."""


def rpc_status(error: BellhousingError, *, partial_output: bool = False) -> status_pb2.Status:
    """Return the status of `error`; `partial_output` marks that a delta had been sent."""
    status = status_pb2.Status(code=error.code.value[0], message=str(error))
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
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
            for v in error.violations
        ]
        _add(status, error_details_pb2.BadRequest(field_violations=fields))
    if isinstance(error, NotFound):
        _add(
            status,
            error_details_pb2.ResourceInfo(
                resource_type=error.kind, resource_name=error.name, description=", ".join(error.near)
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
