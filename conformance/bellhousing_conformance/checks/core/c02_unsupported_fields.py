"""C02: what is declared absent is refused by name, and what is declared is not refused."""

from functools import partial

import grpc

from bellhousing.capabilities import FIELDS
from bellhousing_conformance.calls import CallFailed
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.support import MODES, excuse, rejection_fault, with_field

AT_ONCE = 4


@check(
    "C02",
    title="A field that is declared absent is refused by name; a declared one is never unimplemented",
    clause="bellhousing.v1.Capabilities.parameters",
    profile="core",
    finds="one field of the contract that is ignored silently, or refused although it is declared",
)
async def fields_are_as_declared(probe: Probe) -> None:
    """Set every field of the contract in a request of its own, and call every operation that is declared absent."""
    await probe.each([partial(_examine, probe, path) for path in (*FIELDS, *MODES)], at_once=AT_ONCE)


async def _examine(probe: Probe, path: str) -> None:
    if not probe.supports(path):
        fault = await rejection_fault(probe.calls, probe.model, path)
        probe.holds(fault is None, fault or f"{path} is refused")
    elif path in FIELDS:
        await _expect_taken(probe, path)


async def _expect_taken(probe: Probe, path: str) -> None:
    """Note whether a declared field is refused for being set.

    A refusal of its value counts where that is a number within the declared range; what others mean is the engine's.
    """
    base = probe.request("Hello")
    if probe.supports("sampling.max_tokens"):
        base.sampling.max_tokens = 1
    code, reason, is_refused = "OK", "", False
    try:
        await probe.complete(with_field(base, path))
    except CallFailed as failed:
        code, reason = failed.code.name, failed.error.message
        named = [violation.field for violation in getattr(failed.error, "violations", ())]
        is_refused = path.startswith("sampling.") and path in named and excuse(probe.model, failed) is None
    holds = code != grpc.StatusCode.UNIMPLEMENTED.name and not is_refused
    probe.holds(holds, f"{path} is declared: expected another status than {code}", code=code, message=reason)
