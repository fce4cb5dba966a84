"""Adapters on the target, through Admin: what the checks of the profile ADAPTERS do with the sources they are given."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc

from bellhousing.v1 import admin_pb2
from bellhousing_conformance.calls import CallFailed
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import NotRun

WITHHELD = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)


def sources(probe: Probe, count: int) -> tuple[str, ...]:
    """Return sources of adapters of different weights. Raises `NotRun` when the target names fewer."""
    if len(probe.adapters) < count:
        raise NotRun(f"expected {count} adapters in the target's file, found {len(probe.adapters)}")
    return probe.adapters[:count]


def new_name(probe: Probe) -> str:
    """Return a name that no adapter has."""
    return f"conformance-{probe.random.randrange(10**9)}"


async def register(probe: Probe, name: str, source: str) -> admin_pb2.Adapter:
    """Make an adapter known. Raises `CallFailed`, and `NotRun` when the token does not allow it."""
    request = admin_pb2.RegisterAdapterRequest(model=probe.model.name, name=name, source=source)
    return (await ask(probe, probe.calls.stubs.admin.RegisterAdapter, request)).adapter  # type: ignore[no-any-return]


async def load(probe: Probe, name: str) -> admin_pb2.LoadAdapterResponse:
    """Bring an adapter onto the device."""
    request = admin_pb2.LoadAdapterRequest(model=probe.model.name, name=name)
    return await ask(probe, probe.calls.stubs.admin.LoadAdapter, request)  # type: ignore[no-any-return]


async def unload(probe: Probe, name: str, *, forget: bool = False) -> None:
    """Take an adapter off the device."""
    request = admin_pb2.UnloadAdapterRequest(model=probe.model.name, name=name, forget=forget)
    await ask(probe, probe.calls.stubs.admin.UnloadAdapter, request)


async def listed(probe: Probe, prefix: str) -> dict[str, str]:
    """Return the registered adapters whose names begin with `prefix`, and the state of each."""
    request = admin_pb2.ListAdaptersRequest(model=probe.model.name, name_prefix=prefix)
    answer = await ask(probe, probe.calls.stubs.admin.ListAdapters, request)
    return {each.name: admin_pb2.AdapterState.Name(each.state) for each in answer.adapters}


async def ask(probe: Probe, method: Callable[..., Awaitable[Any]], request: Any) -> Any:
    """Return an answer of Admin. Raises `CallFailed`, and `NotRun` when the token does not allow it."""
    try:
        return await probe.calls.ask(method, request)
    except CallFailed as failed:
        if failed.code in WITHHELD:
            raise NotRun(f"{failed.method}: the token does not allow it") from failed
        raise


@asynccontextmanager
async def registered(probe: Probe, *wanted: str) -> AsyncIterator[list[str]]:
    """Register adapters of these sources under new names for the body, then forget them."""
    names: list[str] = []
    try:
        for source in wanted:
            name = new_name(probe)
            await register(probe, name, source)
            names.append(name)
        yield names
    finally:
        for name in names:
            with suppress(CallFailed):  # the check has said what is wrong, or it was forgotten already
                await unload(probe, name, forget=True)
