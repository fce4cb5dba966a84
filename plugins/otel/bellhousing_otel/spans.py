"""One span for each request, made when it has ended."""

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bellhousing.timeline import Timeline
from bellhousing_otel.attributes import operation, span_attributes

EVENTS = ("dispatched", "started", "first_token", "last_token")
# The statuses that OpenTelemetry's RPC conventions call errors of a server; the others are the caller's doing.
SERVER_ERRORS = ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
PROPAGATOR = TraceContextTextMapPropagator()


def record_span(tracer: Tracer, timeline: Timeline) -> None:
    """Record the span of a request that has ended or was refused, as a child of the caller's if that sent one."""
    context = PROPAGATOR.extract(timeline.trace_context, context=trace.set_span_in_context(trace.INVALID_SPAN))
    span = tracer.start_span(
        f"{operation(timeline)} {timeline.model}".rstrip(),
        context=context,
        kind=SpanKind.SERVER,
        attributes=span_attributes(timeline),
        start_time=timeline.received_unix_ns,
    )
    for name in EVENTS:
        stamp = getattr(timeline, name)
        if stamp:
            span.add_event(name, timestamp=_unix(timeline, stamp))
    if timeline.code in SERVER_ERRORS:
        span.set_status(StatusCode.ERROR, f"{timeline.code} {timeline.reason}")
    span.end(_unix(timeline, timeline.finished))


def _unix(timeline: Timeline, stamp: int) -> int:
    """Return a monotonic stamp in Unix nanoseconds, as far from arrival as it was."""
    return timeline.received_unix_ns + stamp - timeline.received
