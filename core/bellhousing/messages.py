"""From core's types to the contract's messages."""

from collections.abc import Iterable

from google.protobuf import duration_pb2, timestamp_pb2

from bellhousing.adapters import AdapterView
from bellhousing.backend import ModelInfo
from bellhousing.capabilities import Capabilities, Range
from bellhousing.events import Delta, FinishReason, Started, TokenLogprob, TopLogprob
from bellhousing.generation import Report
from bellhousing.load import ModelLoad
from bellhousing.models import ModelState, ServedModel
from bellhousing.settings import EngineSettings
from bellhousing.status import sendable
from bellhousing.stream import SequenceOutcome
from bellhousing.timeline import Timeline
from bellhousing.v1 import admin_pb2 as admin
from bellhousing.v1 import discovery_pb2 as discovery
from bellhousing.v1 import inference_pb2 as inference
from bellhousing.validation import AcceptedRequest, sampling_message

REASONS: dict[FinishReason, inference.FinishReason] = {
    "eos": inference.FINISH_REASON_EOS,
    "stop_token": inference.FINISH_REASON_STOP_TOKEN,
    "stop_string": inference.FINISH_REASON_STOP_STRING,
    "max_tokens": inference.FINISH_REASON_MAX_TOKENS,
    "context_length": inference.FINISH_REASON_CONTEXT_LENGTH,
    "time_budget": inference.FINISH_REASON_TIME_BUDGET,
    "repetition": inference.FINISH_REASON_REPETITION,
    "unspecified_stop": inference.FINISH_REASON_UNSPECIFIED_STOP,
}
STATES: dict[ModelState, discovery.ModelState] = {
    "unloaded": discovery.MODEL_STATE_UNLOADED,
    "loading": discovery.MODEL_STATE_LOADING,
    "serving": discovery.MODEL_STATE_SERVING,
    "draining": discovery.MODEL_STATE_DRAINING,
    "restarting": discovery.MODEL_STATE_RESTARTING,
    "failed": discovery.MODEL_STATE_FAILED,
    "sleeping": discovery.MODEL_STATE_SLEEPING,
}


def started_message(started: Started, accepted: AcceptedRequest, model: ServedModel) -> inference.Started:
    """Return the first message of a stream."""
    message = inference.Started(
        request_id=accepted.request.id,
        model=model.name,
        backend=model.config.backend,
        instance_id=model.instance_id,
        effective=sampling_message(accepted.request.sampling),
        ignored=[inference.IgnoredField(field=f, reason=r) for f, r in accepted.ignored.items()],
    )
    if started.prompt_tokens is not None:
        message.prompt_tokens = started.prompt_tokens
    if started.cached_tokens is not None:
        message.cached_tokens = started.cached_tokens
    return message


def delta_message(delta: Delta) -> inference.Delta:
    """Return the message of a delta, whose text is whole characters by now."""
    message = inference.Delta(
        index=delta.index, text=str(delta.text), token_ids=delta.token_ids, token_count=delta.token_count
    )
    if delta.logprobs:
        message.logprobs.extend(_logprobs(delta.logprobs))
    if delta.prompt_logprobs:
        message.prompt_logprobs.extend(_logprobs(delta.prompt_logprobs))
    return message


def _logprobs(entries: Iterable[TokenLogprob]) -> Iterable[inference.TokenLogprob]:
    for entry in entries:
        yield inference.TokenLogprob(
            id=entry.id,
            token=entry.token,
            logprob=entry.logprob,
            rank=entry.rank,
            top=[_top(alternative) for alternative in entry.top],
        )


def _top(entry: TopLogprob) -> inference.TopLogprob:
    return inference.TopLogprob(id=entry.id, token=entry.token, logprob=entry.logprob)


def finished_message(report: Report) -> inference.Finished:
    """Return the last message of a stream."""
    timeline = report.timeline
    usage = inference.Usage(
        prompt_tokens=timeline.prompt_tokens,
        cached_tokens=timeline.cached_tokens,
        completion_tokens=timeline.completion_tokens,
    )
    return inference.Finished(
        sequences=[_sequence_end(outcome) for outcome in report.outcomes],
        usage=usage,
        timeline=timeline_message(timeline),
        adapter_digest=report.adapter_digest,
    )


def _sequence_end(outcome: SequenceOutcome) -> inference.SequenceEnd:
    message = inference.SequenceEnd(
        index=outcome.index,
        finish_reason=REASONS[outcome.reason],
        completion_tokens=outcome.completion_tokens,
        cut_character=outcome.cut_character,
    )
    if outcome.stop_token_id is not None:
        message.stop_token_id = outcome.stop_token_id
    elif outcome.stop_string:
        message.stop_string = outcome.stop_string
    return message


def timeline_message(timeline: Timeline) -> inference.Timeline:
    """Return the message of a timeline; stamps that did not happen stay unset."""
    received = timestamp_pb2.Timestamp()
    received.FromNanoseconds(timeline.received_unix_ns)
    message = inference.Timeline(received=received)
    for name in ("dispatched", "started", "first_token", "last_token", "finished"):
        stamp = getattr(timeline, name)
        if stamp:
            getattr(message, name).FromNanoseconds(stamp - timeline.received)
    if timeline.engine_prefill_seconds is not None:
        message.engine_prefill.CopyFrom(duration_message(timeline.engine_prefill_seconds))
    return message


def duration_message(seconds: float) -> duration_pb2.Duration:
    """Return the message of a length of time in seconds."""
    message = duration_pb2.Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def model_message(model: ServedModel) -> discovery.Model:
    """Return the description of a model; what its engine tells is unset until it was loaded once."""
    message = discovery.Model(
        name=model.name, state=STATES[model.state], state_detail=model.state_detail, backend=model.config.backend
    )
    message.backend_version = model.backend_version
    message.instance_id = model.instance_id
    info = model.known_info
    if info is not None:
        _describe(message, info)
        message.settings.extend(_settings(model, info))
        message.parallelism.CopyFrom(_parallelism(model, info))
    return message


def _describe(message: discovery.Model, info: ModelInfo) -> None:
    message.engine = info.engine
    message.engine_version = info.engine_version
    message.model_digest = info.model_digest
    message.tokenizer_digest = info.tokenizer_digest
    message.precision = info.precision
    message.context_length = info.context_length
    message.vocabulary_size = info.vocabulary_size
    message.eos_token_ids.extend(info.eos_token_ids)
    message.defaults.CopyFrom(sampling_message(info.defaults))
    message.capabilities.CopyFrom(capabilities_message(info.capabilities))


def capabilities_message(capabilities: Capabilities) -> discovery.Capabilities:
    """Return the message of a model's capabilities."""
    return discovery.Capabilities(
        parameters=[
            _parameter(name, limits, by_server=capabilities.is_by_server(name))
            for name, limits in capabilities.honoured().items()
        ],
        token_ids=capabilities.token_ids,
        tokenize=capabilities.tokenize,
        detokenize=capabilities.detokenize,
        embed=capabilities.embed,
        adapters=f"ADAPTER_SUPPORT_{capabilities.adapters.upper()}",
        sleep=capabilities.sleep,
        determinism=f"DETERMINISM_{capabilities.determinism.upper()}",
        logprobs_mode=f"LOGPROBS_MODE_{capabilities.logprobs_mode.upper()}",
        grammar_syntax=capabilities.grammar_syntax,
        prefix_cache=capabilities.prefix_cache,
        joined_characters=capabilities.joined_characters,
    )


def _parameter(name: str, limits: Range, *, by_server: bool) -> discovery.ParameterCapability:
    return discovery.ParameterCapability(
        field=name,
        minimum=limits.minimum,
        maximum=limits.maximum,
        exclusive_minimum=limits.exclusive_minimum,
        exclusive_maximum=limits.exclusive_maximum,
        max_items=limits.max_items,
        by_server=by_server,
    )


def _settings(model: ServedModel, info: ModelInfo) -> Iterable[discovery.Setting]:
    requested = EngineSettings(batching=model.config.batching, parallelism=model.config.parallelism)
    known = set[str]()
    for group in EngineSettings.model_fields:
        asked, given = getattr(requested, group), getattr(info.effective, group)
        for name in type(asked).model_fields:
            path = f"{group}.{name}"
            yield discovery.Setting(
                name=path,
                requested=_text(getattr(asked, name)),
                effective=_text(getattr(given, name)),
                reason=info.reasons.get(path, ""),
            )
            known.add(path)
    for path in sorted(info.reasons.keys() - known):
        yield discovery.Setting(name=path, reason=info.reasons[path])


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _parallelism(model: ServedModel, info: ModelInfo) -> discovery.Parallelism:
    asked, given = model.config.parallelism, info.effective.parallelism
    return discovery.Parallelism(
        tensor_requested=asked.tensor,
        tensor_effective=given.tensor,
        pipeline_requested=asked.pipeline,
        pipeline_effective=given.pipeline,
        data_requested=asked.data,
        data_effective=given.data,
        devices=info.devices,
    )


def adapter_message(view: AdapterView) -> admin.Adapter:
    """Return the description of an adapter."""
    record = view.record
    message = admin.Adapter(
        name=record.name,
        model=record.model,
        source=record.source,
        digest=record.digest,
        base_model=record.base_model,
        rank=record.rank,
        target_modules=record.target_modules,
        state=f"ADAPTER_STATE_{view.state.upper()}",
        state_detail=sendable(view.detail),
        pinned=record.pinned,
        size_bytes=record.size_bytes,
        tenant=record.tenant,
        load_count=record.load_count,
        tags=record.tags,
        replicas=view.replicas,
        running=view.leases,
    )
    if record.last_used:
        message.last_used.FromNanoseconds(int(record.last_used * 1e9))
    if record.registered:
        message.registered.FromNanoseconds(int(record.registered * 1e9))
    return message


def load_message(load: ModelLoad) -> discovery.Load:
    """Return the message of how busy a model is."""
    engine = load.engine
    return discovery.Load(
        model=load.model,
        state=STATES[load.state],
        queued=load.queued,
        queued_tokens=load.queued_tokens,
        running=load.running,
        max_running=load.max_running,
        tokens_in_flight=load.tokens_in_flight,
        engine_running=engine.running,
        engine_waiting=engine.waiting,
        kv_cache_usage=engine.kv_cache_usage,
        prefix_cache_queries=engine.prefix_cache_queries,
        prefix_cache_hits=engine.prefix_cache_hits,
        resident_adapters=load.resident_adapters,
        waiting_adapters=load.waiting_adapters,
        adapter_slots=load.adapter_slots,
        drain_rate=load.drain_rate,
        speculative_acceptance=engine.speculative_acceptance,
    )
