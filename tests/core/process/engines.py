"""An engine that behaves, or misbehaves on order. A module of its own, since the engine's process imports it."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Literal

from pydantic import SecretStr

from bellhousing.backend import AdapterFiles, Backend, EmbeddingResult, EngineLoad, ModelInfo, TokenPiece
from bellhousing.capabilities import Capabilities, parameters
from bellhousing.errors import ConfigurationError, ContextOverflow, EngineFault
from bellhousing.events import Delta, Event, Finished, Progress, SequenceEnd, Started
from bellhousing.requests import Chat, GenerationRequest
from bellhousing.settings import Strict


class EchoOptions(Strict):
    """What goes wrong in `start` and `stop`."""

    on_start: Literal["", "refuse", "defect", "exit", "hang", "block", "hold_lock"] = ""
    on_stop: Literal["", "hang", "ignore_sigterm", "defect"] = ""
    with_grandchild: bool = False


class EchoBackend(Backend):
    """Says the words of the prompt; a prompt such as `@exit 3` is an order."""

    name = "echo"
    Options = EchoOptions
    isolation = "process"

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        self.open = 0
        self.death: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.adapters: list[str] = []
        self.grandchild = start_grandchild() if self.options.with_grandchild else 0
        progress(Progress("loading", 1, 2, "layers"))
        await asyncio.to_thread(progress, Progress("loading", 2, 2, "layers"))
        say("the engine is loading")
        if self.options.on_start == "hang":
            await asyncio.sleep(600)
        fail(self.options.on_start)
        return ModelInfo("echo", "1.0", 4096, 8, Capabilities(parameters("text", "chat")))

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        assert isinstance(request.prompt, str)
        self.open += 1
        try:
            yield Started(prompt_tokens=len(request.prompt.split()))
            if request.prompt.startswith("@"):
                order, _, argument = request.prompt[1:].partition(" ")
                async for event in self._obey(order, argument):
                    yield event
            else:
                for word in request.prompt.split():
                    yield Delta(word)
            yield Finished((SequenceEnd("eos"),))
        finally:
            self.open -= 1

    async def _obey(self, order: str, argument: str) -> AsyncIterator[Event]:
        if order == "die":
            self.death.set_result(argument)
        for event in ORDERS[order](argument) if order in ORDERS else ():
            yield event
        while order == "forever":
            yield Delta("again")
            await asyncio.sleep(0.001)
        if order in ("silence", "wrong"):
            await asyncio.sleep(600)

    async def stop(self) -> None:
        if self.options.on_stop == "hang":
            await asyncio.sleep(600)
        if self.options.on_stop == "ignore_sigterm":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            await asyncio.sleep(600)
        fail(self.options.on_stop)

    async def died(self) -> str:
        return await self.death

    async def load(self) -> EngineLoad:
        """`waiting` is the number of open generators; `prefix_cache_hits` the grandchild's process id."""
        return EngineLoad(waiting=self.open, prefix_cache_hits=self.grandchild)

    async def tokenize(self, prompt: str | Chat, *, add_special: bool) -> Sequence[TokenPiece]:
        text = prompt if isinstance(prompt, str) else " ".join(message.content for message in prompt.messages)
        pieces = [TokenPiece(number, word.encode()) for number, word in enumerate(text.split(), 1)]
        return [TokenPiece(0, b"<s>"), *pieces] if add_special else pieces

    async def detokenize(self, ids: Sequence[int]) -> bytes:
        return bytes(ids) if ids else "a wrong value"  # type: ignore[return-value]

    async def embed(self, prompt: str | Sequence[int], *, truncate: bool) -> EmbeddingResult:
        return EmbeddingResult((0.5, -1.0), len(prompt), truncate)

    async def load_adapter(self, adapter: AdapterFiles) -> None:
        self.adapters.append(adapter.name)

    async def unload_adapter(self, name: str) -> None:
        self.adapters.remove(name)

    async def wake(self) -> None:
        self.open += 1
        try:
            await asyncio.sleep(600)
        finally:
            self.open -= 1


class SecretOptions(Strict):
    """Options that JSON does not keep."""

    token: SecretStr = SecretStr("")


class SecretBackend(EchoBackend):
    """A backend with such options."""

    Options = SecretOptions  # type: ignore[assignment]


def start_grandchild() -> int:
    return subprocess.Popen(["sleep", "600"]).pid


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def fail(how: str) -> None:
    """Do what goes wrong in `start` or `stop`."""
    if how == "refuse":
        raise ConfigurationError("echo refuses", reason="NO_ECHO", hint="Speak up.", metadata={"room": "small"})
    if how == "defect":
        raise ZeroDivisionError("a defect")
    if how == "exit":
        for number in range(20):
            say(f"line {number}")
        os._exit(3)
    if how == "block":
        time.sleep(600)
    if how == "hold_lock":
        ctypes.PyDLL(None).sleep(600)  # as native code that keeps the interpreter's lock


def crash(_: str) -> Sequence[Event]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return ()


def raise_overflow(_: str) -> Sequence[Event]:
    raise ContextOverflow(9, 8)


def raise_fault(_: str) -> Sequence[Event]:
    raise EngineFault("broken", engine_code="E7", retry_after=1.5)


def raise_surrogate(_: str) -> Sequence[Event]:
    raise ValueError("bad name \udcff")


def raise_cancelled(_: str) -> Sequence[Event]:
    raise asyncio.CancelledError


def raise_defect(argument: str) -> Sequence[Event]:
    raise ZeroDivisionError(argument)


def leave(code: str) -> Sequence[Event]:
    say("last words")
    os._exit(int(code))


def block(seconds: str) -> Sequence[Event]:
    time.sleep(float(seconds))
    return ()


def spew(lines: str) -> Sequence[Event]:
    for number in range(int(lines)):
        say(f"{number} ".ljust(100, "."))
    say("x" * 300_000)
    return ()


ORDERS: Mapping[str, Callable[[str], Sequence[Event]]] = {
    "silence": lambda _: [Delta("hush")],
    "wrong": lambda _: [Delta("x", ("not an id",))],  # type: ignore[arg-type]
    "textless": lambda _: [Delta(5)],  # type: ignore[arg-type]
    "strange": lambda _: [5],  # type: ignore[list-item]
    "segfault": crash,
    "overflow": raise_overflow,
    "fault": raise_fault,
    "surrogate": raise_surrogate,
    "cancelled": raise_cancelled,
    "burst": lambda count: [Delta(str(number), (number,)) for number in range(int(count))],
    "size": lambda count: [Delta("x" * int(count))],
    "defect": raise_defect,
    "exit": leave,
    "block": block,
    "spew": spew,
}
