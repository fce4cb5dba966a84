"""The metrics of the conventions for generative AI, and a few that they lack."""

from opentelemetry.metrics import Histogram, Meter

from bellhousing.buckets import REQUEST_DURATION, TIME_PER_OUTPUT_TOKEN, TIME_TO_FIRST_TOKEN
from bellhousing.timeline import Timeline
from bellhousing_otel.attributes import metric_attributes


class RequestMetrics:
    """Instruments of `meter`; each method takes what one hook tells. Durations are in seconds."""

    def __init__(self, meter: Meter) -> None:
        def histogram(name: str, text: str, bounds: tuple[float, ...]) -> Histogram:
            return meter.create_histogram(name, "s", text, explicit_bucket_boundaries_advisory=bounds)

        self._duration = histogram("gen_ai.server.request.duration", "Arrival to end.", REQUEST_DURATION)
        self._ttft = histogram("gen_ai.server.time_to_first_token", "Arrival to first token.", TIME_TO_FIRST_TOKEN)
        self._per_token = histogram(
            "gen_ai.server.time_per_output_token", "A request's mean time between tokens.", TIME_PER_OUTPUT_TOKEN
        )
        self._requests = meter.create_counter(
            "bellhousing.requests", "{request}", "Requests that ended or were refused."
        )
        self._tokens = meter.create_counter("bellhousing.tokens", "{token}", "Tokens of requests that ended.")
        self._active = meter.create_up_down_counter(
            "bellhousing.requests.active", "{request}", "Requests that were received and have not ended."
        )

    def refused(self, timeline: Timeline) -> None:
        """Count a request that was refused before it was received."""
        self._requests.add(1, metric_attributes(timeline))

    def received(self, timeline: Timeline) -> None:
        """Note a request that is active from now on."""
        self._active.add(1, metric_attributes(timeline))

    def first_token(self, timeline: Timeline) -> None:
        """Observe TTFT."""
        self._ttft.record(timeline.since_received(timeline.first_token), metric_attributes(timeline))

    def finished(self, timeline: Timeline) -> None:
        """Count a request that has ended, however it did, with its tokens and times."""
        who = metric_attributes(timeline)
        self._active.add(-1, {name: value for name, value in who.items() if name != "error.type"})
        self._requests.add(1, who)
        self._duration.record(timeline.since_received(timeline.finished), who)
        self._tokens.add(timeline.prompt_tokens, {**who, "gen_ai.token.type": "input"})
        self._tokens.add(timeline.completion_tokens, {**who, "gen_ai.token.type": "output"})
        mean = timeline.seconds_per_output_token
        if timeline.code == "OK" and mean is not None:
            self._per_token.record(mean, who)
