"""The adapters that vLLM holds: those on the device, and those that left it and wait in host memory to come back.

vLLM has two tiers of its own, `max_loras` on the device and `max_cpu_loras` in host memory. Here an adapter that leaves
the device stays in host memory as long as there is room, so that it comes back without its files being read.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from bellhousing.backend import AdapterFiles
from bellhousing.errors import NotFound
from bellhousing_vllm.engine import Engine


@dataclass(frozen=True, slots=True)
class Room:
    """What host memory may hold: adapters, those on the device among them, and bytes of those that are not on it."""

    most: int
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter in vLLM: its files, their size, and what requests name it by."""

    files: AdapterFiles
    size_bytes: int
    request: Any


class Loras:
    """The adapters of an engine, in host memory at most what `room` says.

    Who goes is noted, and vLLM hears of it together with the next load: it does what it is told in order, so the place
    is free in time, and nobody waits for the answer.
    """

    def __init__(self, engine: Engine, room: Room, check: Callable[[AdapterFiles], int]) -> None:
        """Use an engine. `check` returns the size of an adapter's weights, or raises why they must not be used."""
        self._engine = engine
        self._room = room
        self._check = check
        self._numbers = 0
        self._on_device: dict[str, Lora] = {}
        self._on_host: OrderedDict[AdapterFiles, Lora] = OrderedDict()
        self._coming = 0
        self._going: dict[int, bool] = {}
        """Numbers of adapters that are to leave the device, True, or vLLM altogether."""

    def find(self, name: str) -> Any:
        """Return what requests name an adapter on the device by. Raises `NotFound`."""
        return self._found(name).request

    async def load(self, files: AdapterFiles) -> None:
        """Bring an adapter onto the device, from host memory where it is. Raises what the check and vLLM raise.

        vLLM sees no files that were not checked.
        """
        lora = self._on_host.pop(files, None) or await self._new(files)
        self._coming += 1
        try:
            await self._add(lora.request)
        except Exception:
            with suppress(Exception):  # the first failure is the one to tell
                await self._engine.remove_adapter(lora.request.lora_int_id)
            raise
        finally:
            self._coming -= 1
        self._on_device[files.name] = lora

    async def unload(self, name: str) -> None:
        """Take an adapter off the device; it stays in host memory if there is room. Raises `NotFound`."""
        lora = self._found(name)
        del self._on_device[name]
        if not lora.files.digest or lora.size_bytes > self._room.most_bytes:
            await self._engine.remove_adapter(lora.request.lora_int_id)
            return
        self._on_host[lora.files] = lora
        self._going[lora.request.lora_int_id] = True
        while sum(each.size_bytes for each in self._on_host.values()) > self._room.most_bytes:
            self._drop_oldest()

    def new_request(self, files: AdapterFiles) -> Any:
        """Return what names an adapter to vLLM, under a number that was never used.

        vLLM's prefix cache knows an adapter by this name and its path, so other weights must have another name.
        """
        self._numbers += 1
        weights = f"{files.digest} {files.config_digest}" if files.digest else str(self._numbers)
        name = f"{files.name}@{hashlib.sha256(weights.encode()).hexdigest()[:16]}"
        return self._engine.adapter_request(name, self._numbers, files.path)

    async def _new(self, files: AdapterFiles) -> Lora:
        size_bytes = await asyncio.to_thread(self._check, files)
        while self._on_host and self._count() >= self._room.most:
            self._drop_oldest()
        return Lora(files, size_bytes, self.new_request(files))

    def _found(self, name: str) -> Lora:
        if name not in self._on_device:
            raise NotFound("adapter", name, self._on_device)
        return self._on_device[name]

    def _count(self) -> int:
        return len(self._on_device) + len(self._on_host) + self._coming

    def _drop_oldest(self) -> None:
        """Take the adapter that left the device longest ago out of host memory."""
        _, lora = self._on_host.popitem(last=False)
        self._going[lora.request.lora_int_id] = False

    async def _add(self, request: Any) -> None:
        self._going.pop(request.lora_int_id, None)
        going, self._going = self._going, {}
        await asyncio.gather(*starmap(self._let_go, going.items()), self._engine.add_adapter(request))

    async def _let_go(self, number: int, stays: bool) -> None:  # noqa: FBT001 - by position, from the pairs of a dict
        if not stays or not await self._engine.take_off_device(number):
            await self._engine.remove_adapter(number)
