"""A running vLLM server as a backend."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from bellhousing.attachment import check_settings, chosen_model, until_unwell
from bellhousing.backend import AdapterFiles, Backend, EngineLoad, ModelInfo, TokenPiece
from bellhousing.errors import (
    BellhousingError,
    ContextOverflow,
    EngineFault,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    Violation,
)
from bellhousing.events import Event, Progress
from bellhousing.lora import check_files
from bellhousing.requests import Chat, ChatMessage, GenerationRequest, Prompt
from bellhousing_vllm.attached.api import NAME, Api
from bellhousing_vllm.attached.completion import Completion, request_body
from bellhousing_vllm.attached.description import BOUNDS, described
from bellhousing_vllm.attached.metrics import load_of
from bellhousing_vllm.attached.options import AttachedOptions
from bellhousing_vllm.attached.pieces import SAMPLE, Decoding, decoding_of, piece
from bellhousing_vllm.errors import dead

LOAD_SECONDS = 300.0


class AttachedVllmBackend(Backend):
    """Serves one model of a vLLM server that someone else started, over its OpenAI-compatible API."""

    name: ClassVar[str] = NAME
    Options = AttachedOptions
    bounds = BOUNDS
    needs_model: ClassVar[bool] = False

    _api: Api | None = None

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Ask the server what it is. Raises `ConfigurationError` or `EngineUnavailable`."""
        check_settings(self.spec.settings)
        progress(Progress("attaching"))
        api = self._api = Api(self.options.url, await asyncio.to_thread(self.options.key))
        found = self._chosen((await api.get("/v1/models"))["data"])
        self._model, self._context_length = str(found["id"]), int(found["max_model_len"])
        version = str((await api.get("/version"))["version"])
        self._decoding: Decoding | None = decoding_of(await self._encode(SAMPLE, add_special=False, pieces=True))
        self._adapters: set[str] = set()
        return described(
            self.spec.settings,
            version=version,
            context_length=self._context_length,
            has_template=await self._has_template(),
            has_pieces=self._decoding is not None,
            has_adapters=await api.has("/v1/load_lora_adapter"),
        )

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Stream a completion. Closing it closes the connection, which aborts the request in vLLM."""
        if request.adapter and request.adapter not in self._adapters:
            raise NotFound("adapter", request.adapter, self._adapters)
        ids = await self._ids(request.prompt)
        if not ids:
            raise InvalidRequest([Violation("text", "must have at least one token, found none")])
        room = self._context_length - len(ids)
        if room < 1:
            raise ContextOverflow(len(ids), self._context_length, backend=NAME)
        body = request_body(request, request.adapter or self._model, ids, room)
        completion = Completion(request, len(ids), room)
        api = self._running()
        try:
            async with api.stream("/v1/completions", body, request) as chunks:
                async for chunk in chunks:
                    for event in completion.events(chunk):
                        yield event
        except EngineFault as error:
            if await api.is_well():
                raise
            raise dead(error.message) from error
        if not completion.has_ended:
            raise EngineFault("the vLLM server ended its stream before the generation", backend=NAME)
        yield completion.finished()

    async def stop(self) -> None:
        """Close the connections. The server goes on, without the adapters that were loaded from here."""
        api, self._api = self._api, None
        if api:
            for name in getattr(self, "_adapters", ()):
                with suppress(BellhousingError):
                    await api.post("/v1/unload_lora_adapter", {"lora_name": name})
            await api.close()

    async def died(self) -> str:
        """Return when the server has not said that it is well for a few seconds."""
        await until_unwell(self._running().is_well)
        return "the vLLM server does not answer, or says that its engine is dead"

    async def load(self) -> EngineLoad:
        """Return the figures of the server's metrics."""
        return load_of(await self._running().text("/metrics"))

    async def tokenize(self, prompt: str | Chat, *, add_special: bool) -> Sequence[TokenPiece]:
        """Return the tokens that `generate` would use."""
        if self._decoding is None:
            raise NotImplementedError
        found = await self._encode(prompt, add_special=add_special, pieces=True)
        return [
            TokenPiece(i, piece(text, self._decoding))
            for i, text in zip(found["tokens"], found["token_strs"], strict=True)
        ]

    async def detokenize(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of the ids; a character that is cut comes as U+FFFD."""
        answer = await self._running().post("/detokenize", {"model": self._model, "tokens": list(ids)})
        return str(answer.json()["prompt"]).encode()

    async def load_adapter(self, adapter: AdapterFiles) -> None:
        """Check the adapter's own files, then have the server load it from the same path on its machine."""
        await asyncio.to_thread(check_files, adapter)
        await self._unload_left_over(adapter)
        body = {"lora_name": adapter.name, "lora_path": adapter.path}
        try:
            await self._running().post("/v1/load_lora_adapter", body, patience=LOAD_SECONDS)
        except (InvalidRequest, EngineFault) as error:
            raise PreconditionFailed(
                f"the vLLM server refuses adapter {adapter.name!r}: {error.message}",
                reason="ADAPTER_REFUSED",
                backend=NAME,
                hint="It must see the adapter under the same path.",
            ) from error
        self._adapters.add(adapter.name)

    async def unload_adapter(self, name: str) -> None:
        """Have the server forget an adapter."""
        if name not in self._adapters:
            raise NotFound("adapter", name, self._adapters)
        self._adapters.discard(name)
        await self._running().post("/v1/unload_lora_adapter", {"lora_name": name})

    async def _unload_left_over(self, adapter: AdapterFiles) -> None:
        """Take away what an earlier life of ours, ended without a word, has loaded under the same name and path."""
        for model in (await self._running().get("/v1/models"))["data"]:
            if model["id"] == adapter.name and model.get("parent") and model.get("root") == adapter.path:
                await self._running().post("/v1/unload_lora_adapter", {"lora_name": adapter.name})

    def _running(self) -> Api:
        if self._api is None:
            raise RuntimeError("the backend was not started")
        return self._api

    def _chosen(self, models: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the wanted model, or the only one; an adapter has a `parent`. Raises `ConfigurationError`."""
        bases = {str(model["id"]): model for model in models if not model.get("parent")}
        return bases[chosen_model(self.options.served_model, bases)]

    async def _ids(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, tuple):
            return list(prompt)
        return list((await self._encode(prompt, add_special=True))["tokens"])

    async def _encode(self, prompt: str | Chat, *, add_special: bool, pieces: bool = False) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._model, "return_token_strs": pieces}
        if isinstance(prompt, Chat):
            body |= {
                "messages": [message.for_template() for message in prompt.messages],
                "add_generation_prompt": prompt.add_generation_prompt,
                "chat_template_kwargs": dict(prompt.template_arguments),
            }
        else:
            body |= {"prompt": prompt, "add_special_tokens": add_special}
        try:
            answer = await self._running().post("/tokenize", body)
        except (InvalidRequest, EngineFault) as error:
            if not isinstance(prompt, Chat):
                raise
            violation = Violation("chat", f"the model's template refuses it: {error.message}")
            raise InvalidRequest([violation], backend=NAME) from error
        return dict(answer.json())

    async def _has_template(self) -> bool:
        try:
            await self._encode(Chat((ChatMessage("user", "Hello"),)), add_special=False)
        except InvalidRequest:
            return False
        return True
