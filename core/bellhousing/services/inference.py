"""The Inference service."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

from bellhousing.access import Access
from bellhousing.errors import BellhousingError, ContextOverflow, InvalidRequest, Unsupported, Violation
from bellhousing.events import Delta, Started
from bellhousing.generation import Generation, Report
from bellhousing.messages import delta_message, finished_message, started_message
from bellhousing.models import Models, ServedModel
from bellhousing.plugins import Plugins
from bellhousing.requests import Chat
from bellhousing.sequence import merge
from bellhousing.services.calls import Context, abort, unary, write
from bellhousing.timeline import Timeline
from bellhousing.v1 import inference_pb2 as pb
from bellhousing.v1 import inference_pb2_grpc
from bellhousing.validation import AcceptedRequest, accept, prompt_of

TRACE_KEYS = ("traceparent", "tracestate")


class InferenceService(inference_pb2_grpc.InferenceServicer):
    """Serves generation, tokenisation and embedding of the server's models."""

    def __init__(self, models: Models, access: Access, plugins: Plugins) -> None:
        self._models = models
        self._access = access
        self._plugins = plugins

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> None:
        """Stream a generation."""
        call = _Call(self._models, self._access, self._plugins)

        async def send(item: Started | Delta) -> None:
            if isinstance(item, Delta):
                await write(context, pb.GenerateResponse(delta=delta_message(item)))
            else:
                await write(context, pb.GenerateResponse(started=call.started(item)))

        try:
            report = await call.run(request, context, send)
            await write(context, pb.GenerateResponse(finished=finished_message(report)))
        except Exception as error:  # noqa: BLE001 - every error becomes a status
            await abort(context, error, partial_output=call.is_partial)

    @unary
    async def Complete(self, request: pb.GenerateRequest, context: Context) -> pb.CompleteResponse:
        """Return a generation whole."""
        call = _Call(self._models, self._access, self._plugins)
        response = pb.CompleteResponse()
        deltas: dict[int, list[Delta]] = {}

        async def collect(item: Started | Delta) -> None:
            if isinstance(item, Delta):
                deltas.setdefault(item.index, []).append(item)
            else:
                response.started.CopyFrom(call.started(item))

        report = await call.run(request, context, collect)
        for outcome in report.outcomes:
            whole = merge(deltas.get(outcome.index) or [Delta("", token_count=0, index=outcome.index)])
            response.outputs.append(delta_message(whole))
        response.finished.CopyFrom(finished_message(report))
        return response

    @unary
    async def Tokenize(self, request: pb.TokenizeRequest, context: Context) -> pb.TokenizeResponse:
        """Return the token ids of a text or chat."""
        model = self._model(request.model, context)
        _require(model, "tokenize", able=model.info.capabilities.tokenize)
        if request.WhichOneof("input") is None:
            raise InvalidRequest([Violation("input", "exactly one of text and chat must be set, found none")])
        prompt = prompt_of(request)
        if isinstance(prompt, tuple):
            raise TypeError("a TokenizeRequest holds no token ids")
        if isinstance(prompt, Chat) and "chat" not in model.info.capabilities.parameters:
            raise InvalidRequest(
                [Violation("chat", f"not supported by the engine of this model ({model.info.engine})")]
            )
        add_special = request.add_special if request.HasField("add_special") else True
        tokens = await model.backend.tokenize(prompt, add_special=add_special)
        return pb.TokenizeResponse(
            token_ids=[token.id for token in tokens],
            pieces=[token.piece for token in tokens] if request.with_pieces else [],
            context_length=model.info.context_length,
        )

    @unary
    async def Detokenize(self, request: pb.DetokenizeRequest, context: Context) -> pb.DetokenizeResponse:
        """Return the text of token ids."""
        model = self._model(request.model, context)
        _require(model, "detokenize", able=model.info.capabilities.detokenize)
        ids = list(request.token_ids)
        size = model.info.vocabulary_size
        outside = next((i for i in ids if size and i >= size), None)
        if outside is not None:
            raise InvalidRequest([Violation("token_ids", f"must be token ids below {size}, found {outside}")])
        text = await model.backend.detokenize(ids) if ids else b""
        return pb.DetokenizeResponse(text=text.decode(errors="replace"))

    @unary
    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:
        """Return one vector for each input."""
        model = self._model(request.model, context)
        _require(model, "embed", able=model.info.capabilities.embed)
        response = pb.EmbedResponse()
        for prompt in _embed_inputs(request):
            result = await model.backend.embed(prompt, truncate=request.truncate)
            if result.prompt_tokens > model.info.context_length and not result.truncated:
                raise ContextOverflow(result.prompt_tokens, model.info.context_length)
            values = _shape(result.values, request)
            response.embeddings.append(pb.Embedding(values=values, truncated=result.truncated))
            response.usage.prompt_tokens += result.prompt_tokens
        return response

    def _model(self, name: str, context: Context) -> ServedModel:
        caller = self._access.caller(context, "inference")
        model = self._models.find(name)
        caller.check_model(model.name)
        if model.state != "serving":
            raise model.unavailable()
        return model


class _Call:
    """One Generate or Complete, whichever way its output is delivered."""

    def __init__(self, models: Models, access: Access, plugins: Plugins) -> None:
        self._models = models
        self._access = access
        self._plugins = plugins
        self._model: ServedModel | None = None
        self._accepted: AcceptedRequest | None = None
        self._generation: Generation | None = None
        self._sees: str | None = ""

    @property
    def is_partial(self) -> bool:
        """Whether a delta has been delivered."""
        return self._generation is not None and self._generation.is_partial

    def started(self, started: Started) -> pb.Started:
        """Return the stream's first message."""
        if self._accepted is None or self._model is None:
            raise RuntimeError("started before the request was accepted")
        return started_message(started, self._accepted, self._model)

    async def run(
        self,
        request: pb.GenerateRequest,
        context: Context,
        send: Callable[[Started | Delta], Awaitable[None]],
    ) -> Report:
        """Accept the request and generate. Raises any `BellhousingError`."""
        timeline = Timeline(trace_context=_trace_context(context))
        deadline = _deadline(context)
        with ExitStack() as held:
            try:
                model, generation = await self._accept(request, context, timeline, deadline)
                held.enter_context(model.holding(generation))
            except Exception as error:
                self._refused(timeline, error)
                raise
            return await self._observed(generation, model, deadline, send)

    async def _accept(
        self, request: pb.GenerateRequest, context: Context, timeline: Timeline, deadline: float | None
    ) -> tuple[ServedModel, Generation]:
        """Return what is to run and note on the timeline what becomes known. Raises any `BellhousingError`."""
        caller = self._access.caller(context, "inference")
        timeline.tenant, self._sees = caller.tenant, caller.sees
        model = self._model = self._models.find(request.model)
        timeline.model, timeline.backend = model.name, model.config.backend
        caller.check_model(model.name)
        if model.state != "serving":
            raise model.unavailable()
        if request.adapter and model.info.capabilities.range_of("adapter"):
            await model.adapters.look_up(request.adapter, caller.tenant)
        accepted = self._accepted = accept(request, model.info)
        asked = accepted.request
        timeline.request_id, timeline.adapter = asked.id, asked.adapter
        timeline.is_chat = isinstance(asked.prompt, Chat)
        generation = self._generation = Generation(accepted, timeline, self._plugins, deadline)
        return model, generation

    def _refused(self, timeline: Timeline, error: Exception) -> None:
        timeline.adapter = ""
        timeline.code, timeline.reason = _verdict(error, None)
        timeline.finished = time.monotonic_ns()
        self._plugins.request_refused(timeline)

    async def _observed(
        self,
        generation: Generation,
        model: ServedModel,
        deadline: float | None,
        send: Callable[[Started | Delta], Awaitable[None]],
    ) -> Report:
        """Generate, and tell observers that the request was received and how it ended."""
        timeline = generation.timeline
        self._plugins.request_received(timeline)
        try:
            report = await generation.run(model, send)
            timeline.finish_reasons = tuple(outcome.reason for outcome in report.outcomes)
            timeline.code, timeline.reason = "OK", timeline.finish_reasons[0]
        except BaseException as error:
            timeline.code, timeline.reason = _verdict(error, deadline)
            if generation.lacked_adapter and isinstance(error, BellhousingError):
                told = model.adapters.told(timeline.adapter, self._sees, error)
                if told is not error:
                    raise told from error
            raise
        finally:
            timeline.finished = time.monotonic_ns()
            self._plugins.request_finished(timeline)
        return report


def _trace_context(context: Context) -> dict[str, str]:
    """Return the W3C trace context that the caller sent, by header; empty without one."""
    metadata = context.invocation_metadata() or ()
    return {key: value for key, value in metadata if key in TRACE_KEYS and isinstance(value, str)}


def _deadline(context: Context) -> float | None:
    """Return the call's deadline on the loop's clock; None without one."""
    remaining = context.time_remaining()
    return None if remaining is None else asyncio.get_running_loop().time() + float(remaining)


def _verdict(error: BaseException, deadline: float | None) -> tuple[str, str]:
    """Return the status name and reason that a failed request is remembered by."""
    if isinstance(error, BellhousingError):
        return error.code.name, error.reason
    if isinstance(error, Exception):
        return "INTERNAL", "SERVER_DEFECT"
    if deadline is not None and asyncio.get_running_loop().time() >= deadline:
        return "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"
    return "CANCELLED", "CLIENT_LEFT"


def _require(model: ServedModel, operation: str, *, able: bool) -> None:
    if not able:
        raise Unsupported(f"the engine of model {model.name!r} ({model.info.engine}) cannot {operation}")


def _embed_inputs(request: pb.EmbedRequest) -> list[str | tuple[int, ...]]:
    violations, inputs = [], list[str | tuple[int, ...]]()
    for position, item in enumerate(request.inputs):
        value = item.text if item.WhichOneof("input") == "text" else tuple(item.token_ids.ids)
        inputs.append(value)
        if not value:
            violations.append(Violation(f"inputs[{position}]", "must not be empty"))
    if not inputs:
        violations.append(Violation("inputs", "must not be empty"))
    if violations:
        raise InvalidRequest(violations)
    return inputs


def _shape(values: tuple[float, ...], request: pb.EmbedRequest) -> list[float]:
    """Return the vector cut to the dimensions asked for and normalised."""
    if request.HasField("dimensions"):
        if not 1 <= request.dimensions <= len(values):
            raise InvalidRequest([Violation("dimensions", f"must be 1 to {len(values)}, found {request.dimensions}")])
        values = values[: request.dimensions]
    if request.HasField("normalize") and not request.normalize:
        return list(values)
    length = math.hypot(*values)
    return [value / length for value in values] if length else list(values)
