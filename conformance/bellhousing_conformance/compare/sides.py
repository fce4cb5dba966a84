"""The two sides of a comparison: reached or started, and what each says of itself."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bellhousing.errors import EngineUnavailable
from bellhousing.launch import ServerProcess
from bellhousing_conformance.calls import Address, Calls
from bellhousing_conformance.compare.machine import Meter
from bellhousing_conformance.compare.settings import SideSettings
from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.preflight import HalfImplemented, Unjudgeable, look
from bellhousing_conformance.report.model import Subject
from bellhousing_conformance.targets.started import LOAD_SECONDS
from bellhousing_conformance.targets.target import Target, load_target

ISO_PRECISION = "iso-precision"
TOKEN_VARIABLES = {"a": "BELLHOUSING_TOKEN_A", "b": "BELLHOUSING_TOKEN_B"}
"""Where the bearer tokens of endpoints are found: in no file and no argument."""


@dataclass(frozen=True, slots=True)
class Side:
    """A side that answers. `meter` reads its processor time, where it was started by us; `subject` is its own word."""

    name: str
    kind: str
    target: Target
    subject: Subject
    meter: Meter | None = None

    def endpoint(self, *, natural: bool, deadline: float) -> Endpoint:
        """Return where and how to send."""
        where, tls = self.target.where, self.target.where.tls
        files = (tls.ca, tls.certificate, tls.key) if tls else (None, None, None)
        ca, certificate, key = (str(file) if file else "" for file in files)
        model = self.target.model
        return Endpoint(self.kind, where.address, model, natural, deadline, where.insecure, ca, certificate, key)


@asynccontextmanager
async def reached(settings: SideSettings, arm: str) -> AsyncIterator[Side]:
    """Yield a side; a server that was started ends with the body.

    Raises `EngineUnavailable` when nobody answers there as the client expects, `ConfigurationError` or
    `DeadlineExceeded` when a server does not start.
    """
    if settings.start:
        async with _started(settings) as side:
            yield side
    elif settings.config is not None:
        yield await _described(settings, load_target(settings.config))
    else:
        where = Address(settings.address, token=os.environ.get(TOKEN_VARIABLES[arm], ""))
        yield await _described(settings, Target(where, settings.model))


@asynccontextmanager
async def _started(settings: SideSettings) -> AsyncIterator[Side]:
    model = {
        "backend": settings.start,
        "name": settings.start,
        "model": settings.model,
        "batching": {"max_sequences": settings.max_sequences} if settings.max_sequences else {},
        "options": dict(settings.options),
    }
    python = settings.python.absolute() if settings.python else None
    async with ServerProcess([model], python=python) as server:
        await server.wait_serving(LOAD_SECONDS)
        assert server.pid is not None  # it has just answered
        yield await _described(settings, Target(Address(server.address), settings.start), Meter(server.pid))


async def _described(settings: SideSettings, target: Target, meter: Meter | None = None) -> Side:
    """Return the side with what it tells of itself; engines' own APIs tell nothing that could be compared."""
    if settings.client != "contract":
        subject = Subject(address=target.where.address, model=target.model)
        return Side(settings.name, settings.client, target, subject, meter)
    try:
        async with Calls(target.where, target.silence) as calls:
            model = await look(calls, target)
    except (Unjudgeable, HalfImplemented) as error:
        raise EngineUnavailable(str(error)) from error
    return Side(settings.name, settings.client, target, Subject.of(target.where.address, model), meter)


def precision_label(a: Subject, b: Subject) -> str:
    """Return whether two subjects have the same weights in the same precision, by their own word alone."""
    if not (a.model_digest and b.model_digest and a.precision and b.precision):
        silent = [name for name, side in (("A", a), ("B", b)) if not (side.model_digest and side.precision)]
        return f"not iso-precision: {' and '.join(silent)} does not tell its weights and their precision"
    if a.precision != b.precision:
        return f"not iso-precision: A has {a.precision}, B has {b.precision}"
    if a.model_digest != b.model_digest:
        return f"not iso-precision: the digests of the weights differ, both are {a.precision}"
    return f"{ISO_PRECISION}: both have the weights {a.model_digest[:19]}… in {a.precision}"
