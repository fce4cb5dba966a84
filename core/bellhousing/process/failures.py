"""Errors on their way from the engine's process to the server: the same class with all its data arrives."""

import traceback
from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from bellhousing.errors import BellhousingError, EngineFault, Unsupported, Violation


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as data: every attribute that a class of the tree has, unset where this one has it not.

    `kinds` names the error's class and its bases up to the root, so that a backend's own subclass arrives as the
    nearest class that the server knows. `traceback` is set for a defect, and has no values of variables in it.
    """

    kinds: tuple[str, ...]
    message: str
    reason: str = ""
    hint: str = ""
    backend: str = ""
    engine_code: str = ""
    retry_after: float | None = None
    metadata: dict[str, str] = {}
    violations: tuple[Violation, ...] | UnsetType = UNSET
    prompt_tokens: int | UnsetType = UNSET
    context_length: int | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    near: tuple[str, ...] | UnsetType = UNSET
    traceback: str = ""


DATA = tuple(name for name in Failure.__struct_fields__ if name not in ("kinds", "traceback"))


def describe(error: BaseException, backend: str) -> Failure:
    """Return `error` as data. What is not of our tree is a defect of the backend: its type and message are told."""
    if isinstance(error, BellhousingError):
        kinds = tuple(kind.__name__ for kind in type(error).__mro__ if issubclass(kind, BellhousingError))
        return Failure(kinds, **{name: value for name, value in vars(error).items() if name in DATA})
    if isinstance(error, NotImplementedError):
        return describe(Unsupported("the backend of this model has no such operation"), backend)
    fault = EngineFault(
        f"backend {backend!r} failed with {type(error).__name__}: {error}", reason="BACKEND_DEFECT", backend=backend
    )
    return msgspec.structs.replace(describe(fault, backend), traceback="".join(traceback.format_exception(error)))


def rebuild(failure: Failure) -> BellhousingError:
    """Return the error that `describe` was given."""
    known = {kind.__name__: kind for kind in tree(BellhousingError)}
    kind = next((known[name] for name in failure.kinds if name in known), EngineFault)
    error = kind.__new__(kind, failure.message)  # its attributes follow: each class's own __init__ takes others
    for name in DATA:
        value = getattr(failure, name)
        if value is not UNSET:
            setattr(error, name, value)
    return error


def tree(root: type[BellhousingError]) -> Iterator[type[BellhousingError]]:
    """Yield a class and all below it."""
    yield root
    for kind in root.__subclasses__():
        yield from tree(kind)
