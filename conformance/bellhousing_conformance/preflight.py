"""Is there something to judge? What stands in the way is told apart before any check blames the target."""

import asyncio
import time
from contextlib import suppress

import grpc

from bellhousing.errors import BellhousingError
from bellhousing.v1 import discovery_pb2
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import CallFailed, Calls, TargetSilent, Unreadable
from bellhousing_conformance.targets.target import Target

CONTRACT = "v1"
CONNECT_SECONDS = 10.0
SETTLE_SECONDS = 120.0
LOADING_POLL_SECONDS = 0.2
COMING = (discovery_pb2.MODEL_STATE_LOADING, discovery_pb2.MODEL_STATE_RESTARTING)
"""States that end by themselves: what is not there yet is not judged."""

JUDGED = (discovery_pb2.MODEL_STATE_SERVING, discovery_pb2.MODEL_STATE_UNSPECIFIED)
"""A model that tells no state is judged as one that serves: the checks say what is wrong with it."""


class Unjudgeable(Exception):
    """The suite cannot judge what it was pointed at; the message says what it found there."""


class HalfImplemented(Exception):
    """The target speaks the contract, but not the part without which nothing can be asked: the target's fault."""


async def look(calls: Calls, target: Target) -> discovery_pb2.Model:
    """Return the model to judge; one that is being loaded is waited for, at most `Target.loading` seconds.

    Raises `Unjudgeable` or `HalfImplemented`.
    """
    await _reach(target)
    model = await _described(calls, target)
    if model.state in COMING:
        model = await _arrived(calls, target, target.loading)
    if model.state not in JUDGED:
        state = discovery_pb2.ModelState.Name(model.state).removeprefix("MODEL_STATE_")
        detail = f" ({model.state_detail})" if model.state_detail else ""
        raise Unjudgeable(
            f"model {model.name!r} of {target.where.address}: expected it to serve within {target.loading:g} s of the "
            f"run's begin, found it {state}{detail}"
        )
    return model


async def settled(calls: Calls, target: Target) -> None:
    """Wait while the target says that the model is started again: what one check did is not the next one's failure."""
    with suppress(Unjudgeable, HalfImplemented):  # which is for the next check to judge
        await _arrived(calls, target, SETTLE_SECONDS)


async def _arrived(calls: Calls, target: Target, seconds: float) -> discovery_pb2.Model:
    """Return the model once it is no longer on its way, or as it is after `seconds`."""
    until = time.monotonic() + seconds
    model = await _described(calls, target)
    while model.state in COMING and time.monotonic() < until:
        await asyncio.sleep(LOADING_POLL_SECONDS)
        model = await _described(calls, target)
    return model


async def _described(calls: Calls, target: Target) -> discovery_pb2.Model:
    try:
        answer = await calls.ask(calls.stubs.discovery.ListModels, discovery_pb2.ListModelsRequest())
    except TargetSilent as error:
        raise Unjudgeable(f"{target.where.address} takes connections and does not answer: {error}") from error
    except Unreadable as error:
        raise Unjudgeable(f"{target.where.address} does not answer as a server of the contract: {error}") from error
    except CallFailed as failed:
        raise await _explained(calls, target, failed) from failed
    if answer.contract_version != CONTRACT:
        raise Unjudgeable(
            f"this suite judges contract {CONTRACT}; {target.where.address} says {answer.contract_version or 'nothing'}"
        )
    return _chosen(list(answer.models), target)


async def is_answering(calls: Calls) -> bool:
    """Tell whether the target answers at all now; a status that it chose to send is an answer."""
    for _ in range(2):  # a lost connection is made again by the second call
        try:
            await calls.ask(calls.stubs.discovery.ListModels, discovery_pb2.ListModelsRequest())
        except TargetSilent:
            return False
        except Unreadable:
            return True
        except CallFailed as failed:
            if not failed.is_connection_lost:
                return True
            await asyncio.sleep(1)
        else:
            return True
    return False


def _chosen(models: list[discovery_pb2.Model], target: Target) -> discovery_pb2.Model:
    names = [model.name for model in models]
    if not target.model and len(models) == 1:
        return models[0]
    for model in models:
        if model.name == target.model:
            return model
    wanted = repr(target.model) if target.model else "a single model, or --model"
    raise Unjudgeable(f"{target.where.address}: expected {wanted}, found models {', '.join(names) or 'none'}")


async def _reach(target: Target) -> None:
    address = target.where.address
    if address.startswith("unix:"):
        return
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError) as error:
        raise Unjudgeable(f"no server can be reached at {address} ({str(error) or 'no answer'})") from error
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _explained(calls: Calls, target: Target, failed: CallFailed) -> Exception:
    """Return what a failed ListModels means."""
    address = target.where.address
    refused = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
    if failed.code in refused:
        return Unjudgeable(f"{address} refuses to describe itself: {failed.error.message}")
    if failed.code is grpc.StatusCode.UNIMPLEMENTED:
        return await _without_discovery(calls, address)
    if failed.is_connection_lost:
        return Unjudgeable(f"what listens at {address} does not speak gRPC: {failed.error.message}")
    if _is_from_the_contract(failed.error):
        return HalfImplemented(str(failed))
    return Unjudgeable(f"{address} does not answer as a server of the contract: {failed}")


async def _without_discovery(calls: Calls, address: str) -> Exception:
    try:
        await calls.ask(calls.stubs.inference.Complete, pb.GenerateRequest())
    except CallFailed as failed:
        if failed.code is grpc.StatusCode.UNIMPLEMENTED:
            return Unjudgeable(f"{address} is a gRPC server without the services of bellhousing.{CONTRACT}")
    except (TargetSilent, Unreadable) as error:
        return Unjudgeable(f"{address} has no Discovery and does not answer: {error}")
    return HalfImplemented("ListModels: expected status OK, found UNIMPLEMENTED, while Inference is served")


def _is_from_the_contract(error: BellhousingError) -> bool:
    """Tell whether a server of the contract made the status: those carry ErrorInfo."""
    return bool(error.metadata)
