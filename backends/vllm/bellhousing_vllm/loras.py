"""The adapters that vLLM holds: those on the device, and those that left it and wait in host memory to come back.

vLLM has two tiers of its own, `max_loras` on the device and `max_cpu_loras` in host memory. Here an adapter that leaves
the device stays in host memory as long as there is room, so that it comes back without its files being read.
"""

import asyncio
import hashlib
from collections import OrderedDict
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

    def __init__(self, engine: Engine, room: Room) -> None:
        self._engine = engine
        self._room = room
        self._numbers = 0
        self._on_device: dict[str, Lora] = {}
        self._on_host: OrderedDict[AdapterFiles, Lora] = OrderedDict()
        self._going: dict[int, bool] = {}
        """Numbers of adapters that are to leave the device, True, or vLLM altogether."""

    def find(self, name: str) -> Any:
        """Return what requests name an adapter on the device by. Raises `NotFound`."""
        return self._found(name).request

    def is_on_host(self, files: AdapterFiles) -> bool:
        """Tell whether an adapter with exactly these files is in host memory, off the device."""
        return files in self._on_host

    async def load(self, files: AdapterFiles, size_bytes: int = 0) -> None:
        """Bring an adapter onto the device, from host memory where it is. Raises what vLLM raises."""
        lora = self._on_host.pop(files, None)
        if lora is None:
            while self._on_host and len(self._on_host) + len(self._on_device) >= self._room.most:
                self._drop_oldest()
            lora = Lora(files, size_bytes, self.new_request(files))
        number = lora.request.lora_int_id
        self._going.pop(number, None)
        going, self._going = self._going, {}
        try:
            await asyncio.gather(*starmap(self._let_go, going.items()), self._engine.add_adapter(lora.request))
        except Exception:
            with suppress(Exception):  # the first failure is the one to tell
                await self._engine.remove_adapter(number)
            raise
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

    def _found(self, name: str) -> Lora:
        if name not in self._on_device:
            raise NotFound("adapter", name, self._on_device)
        return self._on_device[name]

    def _drop_oldest(self) -> None:
        """Take the adapter that left the device longest ago out of host memory."""
        _, lora = self._on_host.popitem(last=False)
        self._going[lora.request.lora_int_id] = False

    async def _let_go(self, number: int, stays: bool) -> None:  # noqa: FBT001 - by position, from the pairs of a dict
        if not stays or not await self._engine.take_off_device(number):
            await self._engine.remove_adapter(number)
