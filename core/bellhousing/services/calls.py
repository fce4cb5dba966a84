"""What every method of every service does: name the caller, and turn errors into statuses with details."""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, Protocol, TypeVar

import grpc
import grpc.aio

from bellhousing.errors import BellhousingError, EngineFault, Unsupported
from bellhousing.status import DETAILS_KEY, rpc_status

logger = logging.getLogger(__name__)
Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Any, Any]

STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


class _Service(Protocol):
    """Any servicer."""


def unary(
    method: Callable[[Any, Request, Context], Awaitable[Response]],
) -> Callable[[Any, Request, Context], Awaitable[Response]]:
    """Make a unary method end with the status of the error that it raises."""

    @functools.wraps(method)
    async def call(service: _Service, request: Request, context: Context) -> Response:
        try:
            return await method(service, request, context)
        except Exception as error:  # noqa: BLE001 - every error becomes a status
            await abort(context, error)

    return call


def streaming(
    method: Callable[[Any, Request, Context], AsyncIterator[Response]],
) -> Callable[[Any, Request, Context], AsyncIterator[Response]]:
    """Make a streaming method end with the status of the error that it raises."""

    @functools.wraps(method)
    async def call(service: _Service, request: Request, context: Context) -> AsyncIterator[Response]:
        try:
            async for response in method(service, request, context):
                yield response
        except Exception as error:  # noqa: BLE001 - every error becomes a status
            await abort(context, error)

    return call


async def write(context: Context, message: object) -> None:
    """Send one message of a stream. Raises `CancelledError` when the client has left.

    gRPC raises an error of its own, and no CancelledError, when a call is cancelled while a write waits for the reader.
    """
    try:
        await context.write(message)
    except (grpc.aio.InternalError, grpc.aio.UsageError) as error:
        raise asyncio.CancelledError("the client has left") from error


async def abort(context: Context, error: Exception, *, partial_output: bool = False) -> NoReturn:
    """End the call with the status of `error`. An error that is not ours is a defect: logged, and INTERNAL."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    status = rpc_status(as_ours(error), partial_output=partial_output)
    await context.abort(STATUS_CODES[status.code], status.message, ((DETAILS_KEY, status.SerializeToString()),))
    raise AssertionError("abort always raises")


def as_ours(error: Exception) -> BellhousingError:
    """Return `error` when it is of our tree, and an INTERNAL one for a defect, which is logged."""
    if isinstance(error, BellhousingError):
        return error
    if isinstance(error, NotImplementedError):
        return Unsupported("the backend of this model has no such operation")
    logger.error("a defect of the server", exc_info=error)
    return EngineFault(f"the server failed with {type(error).__name__}; see its log", reason="SERVER_DEFECT")
