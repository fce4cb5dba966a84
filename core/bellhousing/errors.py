"""Every error of the framework, and the gRPC status it becomes.

::

    BellhousingError                                  raised                                  status
    ├── ConfigurationError                            before serving: the command exits with 2  FAILED_PRECONDITION
    ├── InvalidRequest                                while a request is validated            INVALID_ARGUMENT
    ├── ContextOverflow                               by validation or the engine             OUT_OF_RANGE
    ├── NotFound                                      while a name is looked up               NOT_FOUND
    ├── AlreadyExists                                 while a name is registered              ALREADY_EXISTS
    ├── PreconditionFailed                            by an operation in the wrong state      FAILED_PRECONDITION
    ├── Unsupported                                   by an operation the model cannot do     UNIMPLEMENTED
    ├── Unauthenticated                               before anything else                    UNAUTHENTICATED
    ├── PermissionDenied                              before anything else                    PERMISSION_DENIED
    ├── Overloaded                                    by admission                            RESOURCE_EXHAUSTED
    ├── DeadlineExceeded                              in queue, prefill or decode             DEADLINE_EXCEEDED
    ├── Cancelled                                     in queue, prefill or decode             CANCELLED
    ├── EngineUnavailable                             loading, draining, engine dead          UNAVAILABLE
    ├── EngineFault                                   the engine refused or failed a request  INTERNAL
    └── StreamBroken                                  the engine's stream ended without end   DATA_LOSS

Errors carry data for the status details: `reason` becomes ErrorInfo, `violations` BadRequest, `retry_after` RetryInfo,
`resource` ResourceInfo. A message names the culprit, what was found and what was expected.
"""

import difflib
from bisect import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import grpc

MOST_NAME = 128
"""Characters of a name that is not known which are told; no adapter's is longer."""
MOST_COMPARED = 50_000
"""What comparing one name with others may cost, as the sum of the products of their lengths: about 5 ms at worst."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request and what is wrong with it."""

    field: str
    description: str


class BellhousingError(Exception):
    """The root of the tree.

    `backend` and `engine_code` name the engine's part in it, `hint` says how to mend it, `retry_after` is in seconds.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        hint: str = "",
        backend: str = "",
        engine_code: str = "",
        retry_after: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.hint = hint
        self.backend = backend
        self.engine_code = engine_code
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class ConfigurationError(BellhousingError):
    """Settings, files or the environment are wrong; nothing can be served until a person mends them."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    default_reason = "CONFIGURATION"


class InvalidRequest(BellhousingError):
    """Fields of a request are wrong or not supported; one `Violation` each."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    default_reason = "INVALID_REQUEST"

    def __init__(self, violations: Iterable[Violation], **details: str) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations), **details)  # type: ignore[arg-type]


class ContextOverflow(BellhousingError):
    """The prompt, or prompt and output together, are longer than the context. Both lengths are in tokens."""

    code = grpc.StatusCode.OUT_OF_RANGE
    default_reason = "CONTEXT_LENGTH_EXCEEDED"

    def __init__(self, prompt_tokens: int, context_length: int, *, backend: str = "") -> None:
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length
        super().__init__(
            f"the prompt has {prompt_tokens} tokens and the context holds {context_length}, of which at least one is"
            " for the output",
            backend=backend,
            metadata={"prompt_tokens": str(prompt_tokens), "context_length": str(context_length)},
        )


class NotFound(BellhousingError):
    """No `kind` (model, adapter, backend, request) has that name, cut when it is long; the message tells near ones."""

    code = grpc.StatusCode.NOT_FOUND
    default_reason = "NOT_FOUND"

    def __init__(self, kind: str, name: str, known: Iterable[str] = (), *, hint: str = "") -> None:
        self.kind = kind
        self.name = name = name if len(name) <= MOST_NAME else f"{name[:MOST_NAME]} ..."
        self.near = near_names(name, known)
        known_text = f"; {kind}s here: {', '.join(self.near)}" if self.near else f"; no {kind} is known here"
        super().__init__(f"no {kind} named {name!r}{known_text}", reason=f"{kind.upper()}_NOT_FOUND", hint=hint)


class AlreadyExists(BellhousingError):
    """A name is taken by something else."""

    code = grpc.StatusCode.ALREADY_EXISTS
    default_reason = "ALREADY_EXISTS"


class PreconditionFailed(BellhousingError):
    """The operation is fine, the state is not."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    default_reason = "FAILED_PRECONDITION"


class Unsupported(BellhousingError):
    """The model has no such operation; Discovery says so too."""

    code = grpc.StatusCode.UNIMPLEMENTED
    default_reason = "UNSUPPORTED"


class Unauthenticated(BellhousingError):
    """No token, or one that is not known."""

    code = grpc.StatusCode.UNAUTHENTICATED
    default_reason = "UNAUTHENTICATED"


class PermissionDenied(BellhousingError):
    """The token does not allow this."""

    code = grpc.StatusCode.PERMISSION_DENIED
    default_reason = "PERMISSION_DENIED"


class Overloaded(BellhousingError):
    """The queue is full, or the request could not start in time; `retry_after` comes from the drain rate."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    default_reason = "QUEUE_FULL"


class DeadlineExceeded(BellhousingError):
    """The request's deadline passed."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    default_reason = "DEADLINE_EXCEEDED"


class Cancelled(BellhousingError):
    """The request was ended by an operator; a client that leaves hears nothing."""

    code = grpc.StatusCode.CANCELLED
    default_reason = "ABORTED_BY_OPERATOR"


class EngineUnavailable(BellhousingError):
    """The model is loading, draining, restarting or gone; another try may succeed."""

    code = grpc.StatusCode.UNAVAILABLE
    default_reason = "ENGINE_UNAVAILABLE"


class EngineFault(BellhousingError):
    """The engine failed this request; others go on."""

    code = grpc.StatusCode.INTERNAL
    default_reason = "ENGINE_FAULT"


class StreamBroken(BellhousingError):
    """The engine's stream ended without an end, or out of order: what came before may be incomplete."""

    code = grpc.StatusCode.DATA_LOSS
    default_reason = "STREAM_BROKEN"


def near_names(name: str, known: Iterable[str], limit: int = 5) -> tuple[str, ...]:
    """Return the known names nearest to `name`, best first; the first few by alphabet when none is near.

    Cheap, whoever gives the name: a long one is like no other, and of many long ones only its neighbours by alphabet
    are compared with it.
    """
    names = sorted(known)
    is_long = len(name) > MOST_NAME
    near = () if is_long else difflib.get_close_matches(name, _neighbours(name, names), n=limit, cutoff=0.5)
    return tuple(near or names[:limit])


def _neighbours(name: str, names: list[str]) -> list[str]:
    """Return as many of the sorted `names` around `name` as may be compared with it."""
    most = MOST_COMPARED // (max(map(len, names), default=0) * len(name) or 1)
    begin = max(0, min(bisect(names, name) - most // 2, len(names) - most))
    return names[begin : begin + most]
