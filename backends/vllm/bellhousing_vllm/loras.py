"""The adapters that vLLM holds: those on the device, and those that left it and wait in host memory to come back.

vLLM has two tiers of its own, `max_loras` on the device and `max_cpu_loras` in host memory. Here an adapter that leaves
the device stays in host memory as long as there is room, so that it comes back without its files being read.
"""

import hashlib
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
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
    """The adapters of an engine, in host memory at most what `room` says."""

    def __init__(self, engine: Engine, room: Room) -> None:
        self._engine = engine
        self._room = room
        self._numbers = 0
        self._on_device: dict[str, Lora] = {}
        self._on_host: OrderedDict[AdapterFiles, Lora] = OrderedDict()

    def find(self, name: str) -> Any:
        """Return what requests name an adapter on the device by. Raises `NotFound`."""
        if name not in self._on_device:
            raise NotFound("adapter", name, self._on_device)
        return self._on_device[name].request

    def is_on_host(self, files: AdapterFiles) -> bool:
        """Tell whether an adapter with exactly these files is in host memory, off the device."""
        return files in self._on_host

    async def load(self, files: AdapterFiles, size_bytes: int = 0) -> None:
        """Bring an adapter onto the device, from host memory where it is. Raises what vLLM raises."""
        lora = self._on_host.pop(files, None)
        if lora is None:
            while self._on_host and len(self._on_host) + len(self._on_device) >= self._room.most:
                await self._drop_oldest()
            lora = Lora(files, size_bytes, self.new_request(files))
        try:
            await self._engine.add_adapter(lora.request)
        except Exception:
            with suppress(Exception):  # the first failure is the one to tell
                await self._engine.remove_adapter(lora.request.lora_int_id)
            raise
        self._on_device[files.name] = lora

    async def unload(self, name: str) -> None:
        """Take an adapter off the device; it stays in host memory if there is room. Raises `NotFound`."""
        self.find(name)
        lora = self._on_device.pop(name)
        number = lora.request.lora_int_id
        can_stay = lora.files.digest and lora.size_bytes <= self._room.most_bytes
        if not can_stay or not await self._engine.take_off_device(number):
            await self._engine.remove_adapter(number)
            return
        self._on_host[lora.files] = lora
        while sum(each.size_bytes for each in self._on_host.values()) > self._room.most_bytes:
            await self._drop_oldest()

    def new_request(self, files: AdapterFiles) -> Any:
        """Return what names an adapter to vLLM, under a number that was never used.

        vLLM's prefix cache knows an adapter by this name and its path, so other weights must have another name.
        """
        self._numbers += 1
        weights = f"{files.digest} {files.config_digest}" if files.digest else str(self._numbers)
        name = f"{files.name}@{hashlib.sha256(weights.encode()).hexdigest()[:16]}"
        return self._engine.adapter_request(name, self._numbers, files.path)

    async def _drop_oldest(self) -> None:
        """Take the adapter that left the device longest ago out of host memory."""
        _, lora = self._on_host.popitem(last=False)
        await self._engine.remove_adapter(lora.request.lora_int_id)
