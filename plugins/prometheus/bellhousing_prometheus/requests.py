"""Metrics of requests, recorded as they happen."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bellhousing.buckets import REQUEST_DURATION, TIME_PER_OUTPUT_TOKEN, TIME_TO_FIRST_TOKEN
from bellhousing.timeline import Timeline
from bellhousing_prometheus.labels import BoundedLabel

WHO = ("model", "backend", "adapter", "tenant")


@dataclass(slots=True)
class _Open:
    """A request that was received and has not ended."""

    model: str
    adapter: str
    who: tuple[str, ...]
    inter_token: Histogram
    is_running: bool = False
    last_token: dict[int, int] = field(default_factory=dict)


class RequestMetrics:
    """Counters and histograms of requests in `registry`; each method takes what one hook tells.

    Durations are in seconds. Of requests that fail, only what happened is observed: TTFT needs a first token, and time
    per output token a good end. All of them are in `bellhousing_requests_total`.
    """

    def __init__(self, registry: CollectorRegistry, adapters: BoundedLabel, tenants: BoundedLabel) -> None:
        self._adapters = adapters
        self._tenants = tenants
        self._reasons = BoundedLabel(100)
        self._open: dict[int, _Open] = {}

        def counter(name: str, help_text: str, *more: str) -> Counter:
            return Counter(f"bellhousing_{name}", help_text, (*WHO, *more), registry=registry)

        def gauge(name: str, help_text: str) -> Gauge:
            return Gauge(f"bellhousing_{name}", help_text, WHO, registry=registry)

        def histogram(name: str, help_text: str, buckets: tuple[float, ...], *more: str) -> Histogram:
            return Histogram(f"bellhousing_{name}", help_text, (*WHO, *more), buckets=buckets, registry=registry)

        self._requests = counter("requests", "Requests that ended or were refused.", "code", "reason")
        self._prompt = counter("prompt_tokens", "Prompt tokens of requests that ended.", "code")
        self._cached = counter("cached_tokens", "Of the prompt tokens, those found in a cache.", "code")
        self._completion = counter("completion_tokens", "Output tokens of requests that ended.", "code")
        self._waiting = gauge("requests_waiting", "Requests in the queue, or waiting for their adapter.")
        self._running = gauge("requests_running", "Requests with the engine.")
        self._duration = histogram("request_duration_seconds", "Arrival to end.", REQUEST_DURATION, "code")
        self._queue = histogram("queue_seconds", "Arrival to the engine.", REQUEST_DURATION)
        self._ttft = histogram("time_to_first_token_seconds", "Arrival to the first token.", TIME_TO_FIRST_TOKEN)
        self._prefill = histogram("prefill_seconds", "Handed to the engine to its first token.", TIME_TO_FIRST_TOKEN)
        self._decode = histogram("decode_seconds", "First token to last.", REQUEST_DURATION)
        self._per_token = histogram(
            "time_per_output_token_seconds", "A request's mean time between tokens.", TIME_PER_OUTPUT_TOKEN
        )
        self._inter_token = histogram("inter_token_latency_seconds", "Time between two tokens.", TIME_PER_OUTPUT_TOKEN)
        self._engine_prefill = histogram(
            "engine_prefill_seconds", "Prefill as the engine measures it.", TIME_TO_FIRST_TOKEN
        )

    def refused(self, timeline: Timeline) -> None:
        """Count a request that was refused before it was received."""
        self._requests.labels(*self._who(timeline), timeline.code, self._reasons.value(timeline.reason)).inc()

    def received(self, timeline: Timeline) -> None:
        """Note a request that queues from now on."""
        who = self._who(timeline)
        self._open[id(timeline)] = _Open(timeline.model, timeline.adapter, who, self._inter_token.labels(*who))
        self._waiting.labels(*who).inc()

    def dispatched(self, timeline: Timeline) -> None:
        """Note that a request went to the engine."""
        request = self._open[id(timeline)]
        request.is_running = True
        self._waiting.labels(*request.who).dec()
        self._running.labels(*request.who).inc()
        self._queue.labels(*request.who).observe(timeline.since_received(timeline.dispatched))

    def first_token(self, timeline: Timeline) -> None:
        """Observe TTFT."""
        who = self._open[id(timeline)].who
        self._ttft.labels(*who).observe(timeline.since_received(timeline.first_token))
        self._prefill.labels(*who).observe((timeline.first_token - timeline.dispatched) / 1e9)

    def delta(self, timeline: Timeline, tokens: int, index: int) -> None:
        """Observe the time since the sequence's last delta, divided by the tokens of this one."""
        if not tokens:
            return
        request, now = self._open[id(timeline)], timeline.last_token
        before = request.last_token.get(index)
        request.last_token[index] = now
        if before is not None:
            request.inter_token.observe((now - before) / 1e9 / tokens)

    def finished(self, timeline: Timeline) -> None:
        """Count a request that has ended, however it did."""
        request = self._open.pop(id(timeline))
        who, code = request.who, timeline.code
        (self._running if request.is_running else self._waiting).labels(*who).dec()
        self._requests.labels(*who, code, self._reasons.value(timeline.reason)).inc()
        self._duration.labels(*who, code).observe(timeline.since_received(timeline.finished))
        self._prompt.labels(*who, code).inc(timeline.prompt_tokens)
        self._cached.labels(*who, code).inc(timeline.cached_tokens or 0)
        self._completion.labels(*who, code).inc(timeline.completion_tokens)
        if timeline.engine_prefill_seconds is not None:
            self._engine_prefill.labels(*who).observe(timeline.engine_prefill_seconds)
        if code == "OK" and timeline.first_token:
            self._decoded(timeline, who)

    def waiting_adapters(self, model: str) -> list[str]:
        """Return the adapters that waiting requests of a model name, sorted."""
        waiting = (request for request in self._open.values() if not request.is_running and request.model == model)
        return sorted({request.adapter for request in waiting if request.adapter})

    def _decoded(self, timeline: Timeline, who: tuple[str, ...]) -> None:
        self._decode.labels(*who).observe((timeline.last_token - timeline.first_token) / 1e9)
        mean = timeline.seconds_per_output_token
        if mean is not None:
            self._per_token.labels(*who).observe(mean)

    def _who(self, timeline: Timeline) -> tuple[str, ...]:
        return (
            timeline.model,
            timeline.backend,
            self._adapters.value(timeline.adapter),
            self._tenants.value(timeline.tenant),
        )
