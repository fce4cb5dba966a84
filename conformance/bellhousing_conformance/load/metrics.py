"""The metrics of a load run, each with a versioned id and the hash of its formula.

Letters as in the method: s intended, a sent, f first message with tokens, l last one, e end, n1 tokens of the first
message, N all tokens. A request that failed or was never sent ranks as infinitely slow: leaving it out would reward a
target for failing.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.record import Sent

NS = 1e9
Of = Callable[[Sent], float | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of one request, in seconds. `of` gives None where the formula is undefined, infinity for a failure.

    `id` is the name and the version; the version changes with the formula.
    """

    name: str
    version: int
    title: str
    formula: str
    of: Of

    @property
    def id(self) -> str:
        """Return `name/version`."""
        return f"{self.name}/{self.version}"

    @property
    def formula_hash(self) -> str:
        """Return the first 12 hexadecimal digits of the SHA-256 of the id and the formula."""
        return sha256(f"{self.id}: {self.formula}".encode()).hexdigest()[:12]

    def values(self, rows: Iterable[Sent]) -> list[float]:
        """Return the values of the rows that have one, in their order."""
        return [value for row in rows if (value := self.of(row)) is not None]


def _of_success(value: Of) -> Of:
    return lambda row: value(row) if row.is_ok else math.inf


def _ttft(row: Sent) -> float | None:
    return None if row.first_ns is None else (row.first_ns - row.intended_ns) / NS


def _service_ttft(row: Sent) -> float | None:
    return None if row.first_ns is None else (row.first_ns - row.sent_ns) / NS


def _send_delay(row: Sent) -> float | None:
    return (row.sent_ns - row.intended_ns) / NS


def _tpot(row: Sent) -> float | None:
    if row.first_ns is None or row.last_ns is None or row.tokens == row.first_tokens:
        return None
    return (row.last_ns - row.first_ns) / NS / (row.tokens - row.first_tokens)


def _max_stall(row: Sent) -> float | None:
    gaps = chunk_gaps(row)
    return max(gaps) if gaps else None


def _e2el(row: Sent) -> float | None:
    return (row.end_ns - row.intended_ns) / NS


def _ntpot(row: Sent) -> float | None:
    return (row.end_ns - row.intended_ns) / NS / row.tokens if row.tokens else None


def _queue(row: Sent) -> float | None:
    return None if row.queue_ns is None else row.queue_ns / NS


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("ttft", 1, "TTFT", "f - s; inf if failed", _of_success(_ttft)),
        Metric("service_ttft", 1, "service TTFT", "f - a; inf if failed", _of_success(_service_ttft)),
        Metric("send_delay", 1, "send delay", "a - s", _send_delay),
        Metric("tpot", 1, "TPOT", "(l - f) / (N - n1), of N > n1; inf if failed", _of_success(_tpot)),
        Metric("max_stall", 1, "longest stall", "max of the chunk gaps; inf if failed", _of_success(_max_stall)),
        Metric("e2el", 1, "end-to-end latency", "e - s; inf if failed", _of_success(_e2el)),
        Metric("ntpot", 1, "normalised TPOT", "(e - s) / N, of N > 0; inf if failed", _of_success(_ntpot)),
        Metric("queue", 1, "queue time", "as the target tells it; inf if failed", _of_success(_queue)),
    )
}
"""The metrics of a request by name. Send delay is the sender's own: a failure does not change it."""

THROUGHPUT = "throughput/1: tokens received in [start, end) of the window, of every request / (end - start)"
GOODPUT = "goodput/1: requests intended in the window that end well within every limit / (end - start)"


def metric(name: str) -> Metric:
    """Return a metric. Raises `ConfigurationError` for a name that none has, with those that there are."""
    if name not in METRICS:
        raise ConfigurationError(f"no metric is named {name!r}; there are {', '.join(METRICS)}")
    return METRICS[name]


def chunk_gaps(row: Sent) -> list[float]:
    """Return the seconds between successive messages with tokens."""
    return [gap / NS for gap, _ in row.gaps[1:]]


def throughput(rows: Iterable[Sent], start_ns: int, end_ns: int) -> float:
    """Return the tokens a second that were received in a window, whenever their requests began or ended.

    Raises `ValueError` for a window without length.
    """
    tokens = sum(count for row in rows for at, count in row.stamps if start_ns <= at < end_ns)
    return tokens / _seconds(start_ns, end_ns)


def goodput(rows: Iterable[Sent], limits: Mapping[str, float], start_ns: int, end_ns: int) -> float:
    """Return the requests a second, of those intended in a window, that meet every limit.

    `limits` has the most seconds by the name of a metric; one that is undefined for a request does not count against
    it. Raises `ConfigurationError` for an unknown metric and `ValueError` for a window without length.
    """
    bounds = [(metric(name), most) for name, most in limits.items()]
    good = sum(
        row.is_ok and all((value := each.of(row)) is None or value <= most for each, most in bounds)
        for row in rows
        if start_ns <= row.intended_ns < end_ns
    )
    return good / _seconds(start_ns, end_ns)


def _seconds(start_ns: int, end_ns: int) -> float:
    if end_ns <= start_ns:
        raise ValueError(f"expected a window that ends after {start_ns} ns, found {end_ns}")
    return (end_ns - start_ns) / NS
