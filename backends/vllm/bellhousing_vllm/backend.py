"""vLLM as a backend, in a process of its own."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal

from bellhousing.backend import AdapterFiles, Backend, EngineLoad, ModelInfo, TokenPiece
from bellhousing.errors import (
    BellhousingError,
    ContextOverflow,
    EngineUnavailable,
    InvalidRequest,
    Violation,
)
from bellhousing.events import Event, Progress, Started
from bellhousing.lora import WEIGHTS, check_adapter
from bellhousing.requests import Chat, GenerationRequest, Sampling
from bellhousing_vllm.arguments import GIB, check_device, most_on_host
from bellhousing_vllm.description import BOUNDS, described, devices_of
from bellhousing_vllm.engine import Engine, count_gpus
from bellhousing_vllm.errors import NAME, dead, error_of
from bellhousing_vllm.loras import Loras, Room
from bellhousing_vllm.model_files import check_parallelism, read_model
from bellhousing_vllm.null_adapter import write_null_adapter
from bellhousing_vllm.options import VllmOptions
from bellhousing_vllm.output import Translation
from bellhousing_vllm.prompts import check_ids, token_ids
from bellhousing_vllm.vocabulary import Vocabulary

logger = logging.getLogger(__name__)
PULSE_SECONDS = 0.1


class VllmBackend(Backend):
    """Serves a Hugging Face directory with vLLM's `AsyncLLM`."""

    name: ClassVar[str] = NAME
    Options = VllmOptions
    bounds = BOUNDS
    isolation: ClassVar[Literal["inline", "process"]] = "process"

    _engine: Engine | None = None
    _base_adapter: Any = None
    """What requests to the base model name: nothing, or on a CPU the adapter that changes nothing."""

    @classmethod
    def tunables(cls) -> Mapping[str, Sequence[int]]:
        """Return what decides between rate and latency in continuous batching: see docs/backends/vllm.md."""
        return {"batching.max_sequences": (4, 16, 64), "batching.max_batched_tokens": (512, 2048, 8192)}

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Check the files, load them, and compute one token. Raises `ConfigurationError` or `EngineUnavailable`."""
        self._model = await asyncio.to_thread(read_model, self.spec.path)
        gpus = await asyncio.to_thread(count_gpus)
        on_cpu = gpus is None
        check_device(self.options, on_cpu=on_cpu)
        check_parallelism(self._model, self.spec.settings.parallelism, gpus)
        digest = await asyncio.to_thread(self._model.digest, progress)
        tokenizer_digest = await asyncio.to_thread(self._model.tokenizer_digest, progress)
        progress(Progress("loading"))
        # It blocks the loop: vLLM starts its own tasks on the loop that opens it.
        engine = self._engine = Engine.open(self._model.path, self.spec.settings, self.options, on_cpu=on_cpu)
        tokenizer, config = engine.tokenizer, engine.config
        self._context_length = int(config.model_config.max_model_len)
        self._vocabulary_size = int(config.model_config.get_vocab_size())
        self._vocabulary = Vocabulary(tokenizer)
        self._eos = _end_tokens(tokenizer, config)
        room = Room(most_on_host(self.options), int(self.options.lora.host_gib * GIB))
        self._loras = Loras(engine, room, self._checked)
        info = described(
            config,
            self.options,
            vocabulary_size=self._vocabulary_size,
            has_template=bool(tokenizer.chat_template),
            eos=self._eos,
            digests=(digest, tokenizer_digest),
            devices=devices_of(self.spec.settings.parallelism, on_cpu=on_cpu),
        )
        if on_cpu:
            await self._mend(engine)
        progress(Progress("warming up"))
        await self._warm_up()
        return info

    async def _mend(self, engine: Engine) -> None:
        """Do what an engine needs that computes on a CPU."""
        has_adapters = self.options.lora.max_loras > 0
        for name in sorted(await engine.mend_for_cpu(has_adapters=has_adapters)):
            logger.warning("this vLLM has other names than %s knows: its engine may end, see vllm.md", name)
        if has_adapters:
            self._base_adapter = await self._load_null_adapter(engine)

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Stream a completion. Closing it aborts the request in vLLM."""
        engine = self._running()
        adapter = self._adapter(request.adapter)
        ids = await token_ids(engine.tokenizer, request.prompt, self._vocabulary_size)
        if not ids:
            raise InvalidRequest([Violation("text", "must have at least one token, found none")])
        room = self._context_length - len(ids)
        if room < 1:
            raise ContextOverflow(len(ids), self._context_length, backend=NAME)
        translation = Translation(request, self._vocabulary, self._eos, room)
        try:
            async with engine.outputs(request, ids, room, adapter) as outputs:
                yield Started(len(ids))
                async for output in outputs:
                    for event in translation.events(output):
                        yield event
                    if translation.has_ended:
                        return
        except (BellhousingError, asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as error:
            raise error_of(error, request) from error

    async def stop(self) -> None:
        """End vLLM's processes."""
        engine, self._engine = self._engine, None
        if engine:
            await asyncio.to_thread(engine.close)

    async def died(self) -> str:
        """Return when vLLM has found its engine dead."""
        while not (self._engine and self._engine.is_dead):  # noqa: ASYNC110 - vLLM tells by a property only
            await asyncio.sleep(PULSE_SECONDS)
        return "vLLM's engine process ended by itself"

    async def load(self) -> EngineLoad:
        """Return what the scheduler told after its last step."""
        return self._running().statistics.load()

    async def tokenize(self, prompt: str | Chat, *, add_special: bool) -> Sequence[TokenPiece]:
        """Return the tokens that `generate` would use."""
        ids = await token_ids(self._running().tokenizer, prompt, self._vocabulary_size, add_special=add_special)
        return [TokenPiece(i, self._vocabulary.piece(i)) for i in ids]

    async def detokenize(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of the ids; special tokens as they are written."""
        check_ids(ids, self._vocabulary_size)
        return self._vocabulary.decode(ids)

    async def load_adapter(self, adapter: AdapterFiles) -> None:
        """Load an adapter that fits the model; one that is in host memory comes from there."""
        self._running()
        try:
            await self._loras.load(adapter)
        except BellhousingError:
            raise
        except Exception as error:
            raise EngineUnavailable(f"vLLM cannot load adapter {adapter.name!r}: {error}", backend=NAME) from error

    async def unload_adapter(self, name: str) -> None:
        """Take an adapter off the device; as long as there is room it stays in host memory."""
        self._running()
        await self._loras.unload(name)

    async def sleep(self, level: int) -> None:
        """See `Backend.sleep`."""
        await self._running().sleep(level)

    async def wake(self) -> None:
        """See `Backend.wake`."""
        await self._running().wake()

    def _running(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the backend was not started")
        if self._engine.is_dead:
            raise dead("it does not run")
        return self._engine

    def _adapter(self, name: str) -> Any:
        return self._loras.find(name) if name else self._base_adapter

    def _checked(self, adapter: AdapterFiles) -> int:
        """Return the size of an adapter's weights. Raises `PreconditionFailed` for one that does not fit the model."""
        check_adapter(adapter, self._model.shapes, self.options.lora.max_rank)
        return (Path(adapter.path) / WEIGHTS).stat().st_size

    async def _load_null_adapter(self, engine: Engine) -> Any:
        with TemporaryDirectory(prefix="bellhousing-") as directory:
            await asyncio.to_thread(lambda: write_null_adapter(Path(directory), self._model.shapes))
            request = self._loras.new_request(AdapterFiles("base model", directory, ""))
            await engine.add_adapter(request)
            await engine.pin_adapter(request.lora_int_id)
        return request

    async def _warm_up(self) -> None:
        """Compute a few tokens: the first batch compiles kernels, which no client should wait for."""
        first = (min(self._vocabulary_size - 1, 1),)
        wanted = GenerationRequest("warm-up", first, Sampling(max_tokens=2, temperature=0.0, ignore_eos=True))
        async with aclosing(self.generate(wanted)) as events:  # type: ignore[type-var]
            async for _ in events:
                pass


def _end_tokens(tokenizer: Any, config: Any) -> frozenset[int]:
    """Return the ids that end a sequence: the tokenizer's and those of generation_config.json."""
    found: set[int] = set()
    if tokenizer.eos_token_id is not None:
        found.add(int(tokenizer.eos_token_id))
    declared = config.model_config.try_get_generation_config().get("eos_token_id")
    found.update([declared] if isinstance(declared, int) else declared or ())
    return frozenset(found)
