"""What is told of a request, under the names of OpenTelemetry's conventions where these have one."""

from bellhousing.timeline import Timeline

PROVIDER = "bellhousing"
Attributes = dict[str, str | int | float | tuple[str, ...]]


def metric_attributes(timeline: Timeline) -> Attributes:
    """Return the attributes of a measurement: few values each, so neither tenant nor adapter."""
    told: Attributes = {
        "gen_ai.operation.name": operation(timeline),
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": timeline.model,
        "bellhousing.backend": timeline.backend,
    }
    if timeline.code not in ("", "OK"):
        told["error.type"] = timeline.reason
    return told


def span_attributes(timeline: Timeline) -> Attributes:
    """Return the attributes of a request that has ended. Nothing of its prompt or output is among them."""
    told = {
        **metric_attributes(timeline),
        "rpc.response.status_code": timeline.code,
        "gen_ai.usage.input_tokens": timeline.prompt_tokens,
        "gen_ai.usage.output_tokens": timeline.completion_tokens,
    }
    if timeline.cached_tokens is not None:
        told["gen_ai.usage.cache_read.input_tokens"] = timeline.cached_tokens
    if timeline.finish_reasons:
        told["gen_ai.response.finish_reasons"] = timeline.finish_reasons
    named = {
        "gen_ai.response.id": timeline.request_id,
        "bellhousing.tenant": timeline.tenant,
        "bellhousing.adapter": timeline.adapter,
    }
    return told | {name: value for name, value in named.items() if value}


def operation(timeline: Timeline) -> str:
    """Return `gen_ai.operation.name`."""
    return "chat" if timeline.is_chat else "text_completion"
