"""llama.cpp as a backend, in a process of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from bellhousing.backend import Backend, EngineLoad, ModelInfo, TokenPiece
from bellhousing.capabilities import Capabilities, Range, parameters
from bellhousing.errors import ConfigurationError, InvalidRequest, Violation
from bellhousing.events import Event, Progress
from bellhousing.requests import Chat, GenerationRequest, Prompt, Sampling
from bellhousing.settings import Batching, EngineSettings, Parallelism
from bellhousing.sources import sha256_of
from bellhousing_llamacpp.completion import Stream, request_body
from bellhousing_llamacpp.constraints import Constraints
from bellhousing_llamacpp.engine import Engine, Shape
from bellhousing_llamacpp.errors import error_of
from bellhousing_llamacpp.gguf import Header, read_header
from bellhousing_llamacpp.options import LlamaCppOptions
from bellhousing_llamacpp.vocabulary import Vocabulary

DEFAULT_SEQUENCES, DEFAULT_CONTEXT, DEFAULT_BATCHED_TOKENS = 4, 4096, 512
RANDOM_SEED = 2**32 - 1
"""llama.cpp takes this seed to mean "any"."""
MAX_TOP = 100

DEFAULTS = Sampling(
    temperature=1.0,
    top_p=1.0,
    top_k=0,
    min_p=0.0,
    typical_p=1.0,
    repetition_penalty=1.0,
    presence_penalty=0.0,
    frequency_penalty=0.0,
    ignore_eos=False,
)


class LlamaCppBackend(Backend):
    """Serves one GGUF file with the llama.cpp that the `xllamacpp` wheel embeds."""

    name: ClassVar[str] = "llamacpp"
    Options = LlamaCppOptions
    isolation = "process"

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Check the file, then load it."""
        path = _gguf_file(self.spec.path)
        header = await asyncio.to_thread(read_header, path)
        shape = self._shape(header)
        self._refuse_parallelism()
        digest = await asyncio.to_thread(sha256_of, path, progress)
        progress(Progress("loading"))
        self._vocabulary = Vocabulary(header.pieces())
        self._has_template = bool(header.chat_template)
        # The engine's own queue cannot be cancelled, so it never gets more than it has slots.
        self._slots = asyncio.Semaphore(shape.sequences)
        self._shape_in_use = shape
        self._engine = Engine(path, shape, self.options)
        self._constraints = Constraints(self._compiles)
        await self._engine.open()
        return self._info(header, shape, digest)

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Stream a completion."""
        constraint = await self._constraint(request)
        prompt = await self._rendered(request.prompt)
        body = request_body(
            request,
            prompt,
            constraint,
            context_length=self._shape_in_use.context_per_sequence,
            prefix_cache=self.options.prefix_cache,
        )
        async with self._slots, self._engine.stream("/completion", body) as response:
            if response.status != 200:
                raise error_of(response.status, await response.read(), request.structured_output)
            async with aclosing(Stream(request, self._vocabulary).events(response)) as events:  # type: ignore[type-var]
                async for event in events:
                    yield event

    async def stop(self) -> None:
        """Close the engine; the process it lives in ends right after."""
        engine: Engine | None = getattr(self, "_engine", None)
        if engine:
            await engine.close()

    async def load(self) -> EngineLoad:
        """Return the share of the KV cache that running requests have filled."""
        slots: list[dict[str, Any]] = await self._engine.ask("/slots")
        used = sum(
            int(slot.get("n_prompt_tokens_processed", 0)) + int((slot.get("next_token") or [{}])[0].get("n_decoded", 0))
            for slot in slots
            if slot.get("is_processing")
        )
        shape = self._shape_in_use
        return EngineLoad(waiting=0, kv_cache_usage=min(1.0, used / (shape.sequences * shape.context_per_sequence)))

    async def tokenize(self, prompt: str | Chat, *, add_special: bool) -> Sequence[TokenPiece]:
        """Return the tokens that `generate` would use."""
        content = await self._rendered(prompt)
        answer = await self._engine.ask(
            "/tokenize", {"content": content, "add_special": add_special, "parse_special": True}
        )
        return [TokenPiece(number, self._vocabulary.pieces[number]) for number in answer["tokens"]]

    async def detokenize(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of the ids."""
        return self._vocabulary.decode(ids)

    async def _rendered(self, prompt: Prompt) -> str | list[int]:
        if isinstance(prompt, str):
            return prompt
        if isinstance(prompt, tuple):
            return list(prompt)
        messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
        body: dict[str, Any] = {"messages": messages, "add_generation_prompt": prompt.add_generation_prompt}
        if prompt.template_arguments:
            body["chat_template_kwargs"] = dict(prompt.template_arguments)
        return str((await self._engine.ask("/apply-template", body))["prompt"])

    async def _constraint(self, request: GenerationRequest) -> dict[str, Any]:
        wanted = request.structured_output
        if wanted is None:
            return {}
        if request.sampling.ignore_eos:
            # A grammar that is done allows nothing but the end: the engine would fail or ramble.
            raise InvalidRequest([Violation("sampling.ignore_eos", "must not be true together with structured_output")])
        return await self._constraints.fields(wanted)

    async def _compiles(self, rule: str) -> bool:
        """Tell whether the engine compiles a rule: if not, it is ignored and the forced token gets through."""
        forced = next(number for number, piece in enumerate(self._vocabulary.pieces) if piece == b"a")
        body = {
            "prompt": [forced],
            "n_predict": 1,
            "temperature": 0,
            "return_tokens": True,
            "cache_prompt": False,
            "logit_bias": [[forced, 1000]],
            "grammar": f'%llguidance {{}}\nstart: "@" u\nu: {rule}\n',
        }
        async with self._slots:
            try:
                answer = await self._engine.ask("/completion", body)
            except InvalidRequest:
                return False
        return bool(answer.get("tokens") != [forced])

    def _shape(self, header: Header) -> Shape:
        batching, options = self.spec.settings.batching, self.options
        sequences = batching.max_sequences or DEFAULT_SEQUENCES
        trained = header.context_length or DEFAULT_CONTEXT
        context = options.context_per_sequence or min(trained, DEFAULT_CONTEXT)
        if batching.max_total_tokens:
            shared = batching.max_total_tokens // sequences
            if options.context_per_sequence and options.context_per_sequence > shared:
                raise ConfigurationError(
                    f"batching.max_total_tokens {batching.max_total_tokens} gives {sequences} sequences {shared} tokens"
                    f" each, and options.context_per_sequence asks for {options.context_per_sequence}"
                )
            context = min(context, shared)
        if context > trained:
            raise ConfigurationError(
                f"options.context_per_sequence: the model was trained for {trained} tokens, found {context}"
            )
        return Shape(sequences, context, batching.max_batched_tokens or DEFAULT_BATCHED_TOKENS)

    def _refuse_parallelism(self) -> None:
        asked = self.spec.settings.parallelism
        for name in ("tensor", "data", "pipeline"):
            size = getattr(asked, name)
            if size > 1:
                raise ConfigurationError(
                    f"parallelism.{name}: llama.cpp has none of its own, expected 1, found {size}", backend=self.name
                )

    def _info(self, header: Header, shape: Shape, digest: str) -> ModelInfo:
        total = shape.sequences * shape.context_per_sequence
        batching = Batching(
            max_sequences=shape.sequences, max_batched_tokens=shape.batched_tokens, max_total_tokens=total
        )
        return ModelInfo(
            engine="llama.cpp",
            engine_version=f"xllamacpp {version('xllamacpp')}",
            context_length=shape.context_per_sequence,
            max_running=shape.sequences,
            capabilities=_capabilities(has_chat=self._has_template, prefix_cache=self.options.prefix_cache),
            defaults=DEFAULTS,
            vocabulary_size=len(self._vocabulary.pieces),
            model_digest=digest,
            tokenizer_digest=header.tokenizer_digest,
            precision=header.precision,
            eos_token_ids=header.eos_token_ids,
            effective=EngineSettings(batching=batching, parallelism=Parallelism()),
        )


def _capabilities(*, has_chat: bool, prefix_cache: bool) -> Capabilities:
    chat = ("chat", "chat.template_arguments") if has_chat else ()
    return Capabilities(
        parameters=parameters(
            "text",
            "token_ids",
            *chat,
            "sampling.max_tokens",
            "sampling.temperature",
            "sampling.top_p",
            "sampling.top_k",
            "sampling.min_p",
            "sampling.typical_p",
            "sampling.repetition_penalty",
            "sampling.presence_penalty",
            "sampling.frequency_penalty",
            "sampling.logit_bias",
            "sampling.ignore_eos",
            "structured_output.json_schema",
            "structured_output.json_object",
            "structured_output.regex",
            "structured_output.grammar",
            "structured_output.choice",
            sampling__seed=Range(0, RANDOM_SEED - 1),
            sampling__top_k=Range(0, 2**31 - 1),
            logprobs__top=Range(0, MAX_TOP),
        ),
        token_ids=True,
        tokenize=True,
        detokenize=True,
        determinism="solo",
        logprobs_mode="raw",
        grammar_syntax="gbnf",
        prefix_cache=prefix_cache,
    )


def _gguf_file(path: Path | None) -> Path:
    """Return the model file. Raises `ConfigurationError` unless there is exactly one."""
    if path is None or path.is_file():
        return path or Path()
    found = sorted(path.glob("*.gguf"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ConfigurationError(f"model {str(path)!r}: expected a GGUF file or a directory with one, found {names}")
    return found[0]
