"""What the log tells about one request."""

from datetime import UTC, datetime

from bellhousing.timeline import Timeline

TOLD_AS_THEY_ARE = (
    "request_id",
    "model",
    "backend",
    "tenant",
    "adapter",
    "code",
    "reason",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
)


def record_of(timeline: Timeline) -> dict[str, str | int | float | None]:
    """Return the JSON object of a finished request. Times are in seconds; None for what never happened."""
    return {
        "time": datetime.fromtimestamp(timeline.received_unix_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
        **{name: getattr(timeline, name) for name in TOLD_AS_THEY_ARE},
        "queue_seconds": _since_arrival(timeline, timeline.dispatched),
        "ttft_seconds": _since_arrival(timeline, timeline.first_token),
        "inter_token_seconds": _inter_token_seconds(timeline),
        "total_seconds": _since_arrival(timeline, timeline.finished),
    }


def _since_arrival(timeline: Timeline, stamp: int) -> float | None:
    return round(timeline.since_received(stamp), 6) if stamp else None


def _inter_token_seconds(timeline: Timeline) -> float | None:
    mean = timeline.seconds_per_output_token
    return None if mean is None else round(mean, 6)
