"""A saboteur: a target that is right but for one defect."""

import pkgutil
from collections.abc import AsyncIterator, Iterable
from importlib import import_module
from typing import Any, ClassVar

import grpc

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.saboteurs import defects
from bellhousing_conformance.targets.hooks import Hook, HookName, Hooks


class Saboteur:
    """Override what the defect changes; everything else passes as it is.

    One is made for each call, so that its attributes are the call's own state. `defect` is a sentence, `seen_by` the
    checks that must kill it. `forwards_cancel` false keeps the target's call running when the client has left,
    `forwards_deadline` false when the client's deadline has passed.
    """

    defect: ClassVar[str]
    seen_by: ClassVar[tuple[str, ...]]
    forwards_cancel: ClassVar[bool] = True
    forwards_deadline: ClassVar[bool] = True

    def asked(self, request: pb.GenerateRequest) -> None:
        """Change a request of Generate or Complete in place."""

    def told(self, message: pb.GenerateResponse) -> Iterable[pb.GenerateResponse]:
        """Return what becomes of a message of a stream."""
        return (message,)

    async def stream(self, messages: AsyncIterator[pb.GenerateResponse]) -> AsyncIterator[pb.GenerateResponse]:
        """Yield what becomes of a stream; for defects in time or over several messages."""
        async for message in messages:
            for changed in self.told(message):
                yield changed

    def completed(self, answer: pb.CompleteResponse) -> None:
        """Change an answer of Complete in place."""

    def answered(self, method: str, answer: Any) -> None:
        """Change the answer of another unary method, such as `GetModel`, in place."""

    @classmethod
    def hooked(cls, name: HookName, answer: str) -> str:  # noqa: ARG003 - for those that override it
        """Return what becomes of what a hook of the target answers; what the proxy itself holds is added here."""
        return answer

    async def refused(self, code: grpc.StatusCode) -> grpc.StatusCode:
        """Return what becomes of the status of a failed call."""
        return code

    def failed(self, method: str) -> Any:  # noqa: ARG002 - for those that override it
        """Return an answer in place of the failure of a unary method; None lets it fail."""
        return None


def spoilt(hooks: Hooks, kind: type[Saboteur]) -> Hooks:
    """Return the hooks of a target behind a saboteur's proxy."""

    def through(name: HookName, hook: Hook) -> Hook:
        async def call() -> str:
            return kind.hooked(name, await hook())

        return call

    return Hooks({name: through(name, hook) for name, hook in hooks.known.items()})


class Clean(Saboteur):
    """Changes nothing: shows that the proxy itself is innocent."""

    defect = "none"
    seen_by = ()


def saboteurs() -> dict[str, type[Saboteur]]:
    """Return every saboteur of the package `defects` by name, which is its module's, sorted.

    Raises `ValueError` for a module that does not define exactly one.
    """
    found: dict[str, type[Saboteur]] = {}
    for info in pkgutil.iter_modules(defects.__path__):
        module = import_module(f"{defects.__name__}.{info.name}")
        own = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
        kinds = [kind for kind in own if issubclass(kind, Saboteur)]
        if len(kinds) != 1:
            raise ValueError(f"{module.__name__}: expected exactly one saboteur, found {len(kinds)}")
        found[info.name] = kinds[0]
    return dict(sorted(found.items()))
