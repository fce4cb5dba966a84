"""llama.cpp as a backend, in a process of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import platformdirs

from bellhousing.adapters import AdapterCache
from bellhousing.backend import AdapterFiles, Backend, EngineLoad, ModelInfo, TokenPiece
from bellhousing.errors import BellhousingError, InvalidRequest, Violation
from bellhousing.events import Event, Finished, Progress
from bellhousing.gguf import Header, model_files, read_header, read_part_shapes
from bellhousing.requests import Chat, GenerationRequest, Prompt
from bellhousing.sources import sha256_of_files
from bellhousing_llamacpp.adapters import Adapters
from bellhousing_llamacpp.completion import Stream, constrained, request_body
from bellhousing_llamacpp.connection import QUICK_SECONDS
from bellhousing_llamacpp.copies import Copies
from bellhousing_llamacpp.description import BOUNDS, described
from bellhousing_llamacpp.engines import Engines
from bellhousing_llamacpp.errors import NAME, error_of, template_error
from bellhousing_llamacpp.grammar import grammar_of
from bellhousing_llamacpp.options import LlamaCppOptions
from bellhousing_llamacpp.selftest import find_canary
from bellhousing_llamacpp.server import Server, Shape, calm_threads
from bellhousing_llamacpp.shape import shape_of
from bellhousing_llamacpp.turns import Turns
from bellhousing_llamacpp.vocabulary import Vocabulary

PULSE_SECONDS = 5.0


class LlamaCppBackend(Backend):
    """Serves one GGUF file with the llama.cpp that the `xllamacpp` wheel embeds."""

    name: ClassVar[str] = NAME
    Options = LlamaCppOptions
    bounds = BOUNDS
    isolation: ClassVar[Literal["inline", "process"]] = "process"

    _engines: Engines | None = None
    _is_stopping = False

    @classmethod
    def tunables(cls) -> Mapping[str, Sequence[int]]:
        """Return the places of the batch, and the tokens of a step."""
        return {"batching.max_sequences": (1, 4, 8), "batching.max_batched_tokens": (128, 512)}

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Check the file, load it, and find out what the engine can do. Raises `ConfigurationError`."""
        calm_threads(self.options.threads)
        files = model_files(self.spec.path)
        header = await asyncio.to_thread(_whole_header, files)
        shape, devices = shape_of(self.spec.settings, self.options, header)
        digest = await asyncio.to_thread(sha256_of_files, files, progress)
        progress(Progress("loading"))
        engines = self._engines = self._engines_of(files[0], shape)
        server = await engines.open()
        self._adapters = Adapters(engines, Copies(self._cache(), header))
        self._context_length = await _context_length(server)
        self._vocabulary = Vocabulary(header.pieces) if header.pieces else None
        self._has_template = bool(header.chat_template)
        self._canary = await find_canary(server.connection, header.pieces or ())
        # What waits in the engine's own queue cannot be cancelled, so it never gets more than it has places.
        self._turns = Turns(shape.sequences, self.options.lora.turn_seconds)
        self._prefix_cache_queries = self._prefix_cache_hits = 0
        return described(
            self.spec.settings,
            self.options,
            header,
            shape,
            context_length=self._context_length,
            model_digest=digest,
            devices=devices,
            can_constrain=self._canary is not None,
        )

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Stream a completion. What is promised of token ids is in `completion.Stream`."""
        self._adapters.check(request.adapter)
        grammar = self._grammar(request)
        prompt = await self._rendered(request.prompt)
        body = request_body(
            request, prompt, context_length=self._context_length, prefix_cache=self.options.prefix_cache
        )
        canary = None
        if grammar is not None and self._canary is not None:
            canary = self._canary
            body = constrained(body, grammar, canary)
        stream = Stream(request, self._vocabulary, canary)
        async with self._turns.turn(request.adapter), self._running().lease() as server:
            body["lora"] = self._adapters.scales(request.adapter, server)
            async with server.connection.request("/completion", body) as answer:
                if answer.status != 200:
                    raise error_of(answer.status, await answer.read(), request.structured_output)
                async with aclosing(stream.events(answer)) as events:  # type: ignore[type-var]
                    async for event in events:
                        if type(event) is Finished:
                            self._count(event)
                        yield event

    async def stop(self) -> None:
        """End what runs and close the engine."""
        self._is_stopping = True
        if self._engines:
            await self._engines.close()

    async def died(self) -> str:
        """Return when the engine's loop answers nothing for `hang_seconds`: it hangs, and only a restart helps."""
        limit = self.options.hang_seconds
        while True:
            await asyncio.sleep(min(PULSE_SECONDS, limit))
            try:
                await self._slots(patience=limit)
            except BellhousingError as error:
                if self._is_stopping:
                    return await super().died()
                return f"its loop did not answer within {limit:g} s ({error.message})"
            if self._running().is_lost and not self._is_stopping:
                return "it could not be loaded again after its adapters changed"

    async def load(self) -> EngineLoad:
        """Return the share of the KV cache that running requests fill, and prefix cache figures in tokens."""
        slots = await self._slots(patience=QUICK_SECONDS)
        busy = [slot for slot in slots if slot.get("is_processing")]
        used = sum(int(slot.get("n_prompt_tokens", 0)) for slot in busy)
        return EngineLoad(
            running=len(busy),
            waiting=self._turns.waiting,
            kv_cache_usage=min(1.0, used / (max(1, len(slots)) * self._context_length)),
            prefix_cache_queries=self._prefix_cache_queries if self.options.prefix_cache else None,
            prefix_cache_hits=self._prefix_cache_hits if self.options.prefix_cache else None,
        )

    async def tokenize(self, prompt: str | Chat, *, add_special: bool) -> Sequence[TokenPiece]:
        """Return the tokens that `generate` would use."""
        body = {
            "content": await self._rendered(prompt),
            "add_special": add_special,
            "parse_special": True,
            "with_pieces": True,
        }
        async with self._running().lease() as server:
            answer = await server.connection.ask("/tokenize", body)
        return [TokenPiece(token["id"], _bytes_of(token["piece"])) for token in answer["tokens"]]

    async def detokenize(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of the ids; special tokens as they are written."""
        if self._vocabulary is None:
            raise NotImplementedError
        outside = next((i for i in ids if not 0 <= i < len(self._vocabulary.pieces)), None)
        if outside is not None:
            size = len(self._vocabulary.pieces)
            raise InvalidRequest([Violation("token_ids", f"must be token ids below {size}, found {outside}")])
        return self._vocabulary.decode(ids)

    async def load_adapter(self, adapter: AdapterFiles) -> None:
        """Check the adapter's files against the model, convert them when they are PEFT's, and load them."""
        await self._adapters.load(adapter)

    async def unload_adapter(self, name: str) -> None:
        """Serve an adapter no more; its memory is free with the next change of the engine."""
        self._adapters.unload(name)

    def _engines_of(self, file: Path, shape: Shape) -> Engines:
        options: LlamaCppOptions = self.options

        async def opening(adapters: tuple[Path, ...]) -> Server:
            server = Server(file, shape, options, adapters)
            await server.open()
            return server

        return Engines(opening, beside=options.lora.change == "beside")

    def _cache(self) -> AdapterCache:
        lora = self.options.lora
        folder = lora.cache_directory or platformdirs.user_cache_path("bellhousing") / "llamacpp-adapters"
        return AdapterCache(folder, lora.cache_bytes)

    def _running(self) -> Engines:
        if self._engines is None:
            raise RuntimeError("the backend was not started")
        return self._engines

    async def _slots(self, *, patience: float) -> list[dict[str, Any]]:
        """Return the places of every engine that is loaded."""
        found: list[dict[str, Any]] = []
        for engine in self._running().living():
            with engine.uses.held():
                found += await engine.server.connection.ask("/slots", patience=patience)
        return found

    def _grammar(self, request: GenerationRequest) -> str | None:
        wanted = request.structured_output
        return None if wanted is None else grammar_of(wanted, self.options.max_grammar_bytes)

    async def _rendered(self, prompt: Prompt) -> str | list[int]:
        if isinstance(prompt, str):
            return prompt
        if isinstance(prompt, tuple):
            return list(prompt)
        if not self._has_template:
            raise InvalidRequest([Violation("chat", "the model has no chat template; expected text or token_ids")])
        messages = [message.for_template() for message in prompt.messages]
        body = {
            "messages": messages,
            "add_generation_prompt": prompt.add_generation_prompt,
            "chat_template_kwargs": dict(prompt.template_arguments),
        }
        try:
            async with self._running().lease() as server:
                return str((await server.connection.ask("/apply-template", body))["prompt"])
        except BellhousingError as error:
            raise template_error(error) from error

    def _count(self, finished: Finished) -> None:
        self._prefix_cache_queries += finished.prompt_tokens or 0
        self._prefix_cache_hits += finished.cached_tokens or 0


def _whole_header(files: Sequence[Path]) -> Header:
    """Return the header of a model, with the tensors of all its parts."""
    header = read_header(files[0])
    shapes = dict(header.shapes)
    for part in files[1:]:
        shapes |= read_part_shapes(part)
    return replace(header, shapes=shapes)


async def _context_length(server: Server) -> int:
    """Return the tokens of one request as the engine allotted them."""
    properties = await server.connection.ask("/props")
    return int(properties["default_generation_settings"]["n_ctx"])


def _bytes_of(piece: str | list[int]) -> bytes:
    """Return the bytes of a token as the engine writes them: text, or numbers where they are no whole characters."""
    return piece.encode() if isinstance(piece, str) else bytes(piece)
