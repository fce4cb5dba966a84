"""What happened to one request and when: the single source of TTFT, inter-token latency and queue time."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Timeline:
    """The life of a request. Times are `time.monotonic_ns`; 0 means it has not happened.

    `code` is the gRPC status name once finished; `reason` is the error's reason or the first finish reason.
    `completion_tokens` counts those of a failed request too. `trace_context` has the W3C headers that the caller sent.
    """

    request_id: str = ""
    model: str = ""
    backend: str = ""
    tenant: str = ""
    adapter: str = ""
    is_chat: bool = False
    trace_context: Mapping[str, str] = field(default_factory=dict)
    received_unix_ns: int = field(default_factory=time.time_ns)
    received: int = field(default_factory=time.monotonic_ns)
    dispatched: int = 0
    started: int = 0
    first_token: int = 0
    last_token: int = 0
    finished: int = 0
    prompt_tokens: int = 0
    cached_tokens: int | None = None
    completion_tokens: int = 0
    engine_prefill_seconds: float | None = None
    code: str = ""
    reason: str = ""
    finish_reasons: tuple[str, ...] = ()

    def since_received(self, stamp: int) -> float:
        """Return the seconds from `received` to `stamp`."""
        return (stamp - self.received) / 1e9

    @property
    def seconds_per_output_token(self) -> float | None:
        """The mean time between tokens after the first; None below two tokens.

        (last_token - first_token) / (tokens - 1), where `tokens` is the mean length of the request's sequences.
        """
        tokens = self.completion_tokens / max(1, len(self.finish_reasons))
        return (self.last_token - self.first_token) / 1e9 / (tokens - 1) if tokens >= 2 else None
