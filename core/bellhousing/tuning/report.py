"""What the measurements say: the constraint that binds, the frontier, and the settings to take."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bellhousing.tuning.space import Settings, toml
from bellhousing.tuning.workload import Sample

Constraint = Literal["kv", "queue", "compute", "streams"]
"""What kept the rate from growing: no free KV cache, no free place in the batch, the device, or too few streams."""

KV_IS_FULL = 0.95
IS_WAITING = 0.5
"""Share of the samples with requests that wait from which the queue counts."""
HAS_GROWN = 1.1
"""Fewer streams gave a rate less than this much smaller: more of them gain nothing, the device is busy."""
IS_AS_GOOD = 0.95


@dataclass(frozen=True, slots=True)
class Point:
    """One candidate under one number of streams, over all repeats. Times in milliseconds, rates in tokens a second."""

    settings: Settings
    streams: int
    rate: float
    rate_low: float
    rate_high: float
    ttft_p50: float
    ttft_p95: float
    gap_p50: float
    gap_p95: float
    prompt_tokens: float
    kv_cache_usage: float | None
    waiting_share: float
    failed: int
    errors: dict[str, int]
    constraint: Constraint

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a recommendation may have at the 95th percentile, in milliseconds; None is no limit."""

    ttft: float | None = None
    gap: float | None = None

    def allow(self, point: Point) -> bool:
        """Tell whether a point keeps the limits, without a failed request."""
        is_quick = self.ttft is None or point.ttft_p95 <= self.ttft
        is_even = self.gap is None or point.gap_p95 <= self.gap
        return not point.failed and point.rate > 0 and is_quick and is_even


def point_of(settings: Settings, streams: int, samples: Sequence[Sample], fewer: Point | None) -> Point:
    """Return what the repeats say together; `fewer` is the same candidate under fewer streams."""
    rates = sorted(sample.rate for sample in samples)
    rate = statistics.median(rates)
    loads = [load for sample in samples for load in sample.loads]
    usages = [load.kv_cache_usage for load in loads if load.HasField("kv_cache_usage")]
    waiting = sum(load.queued + load.engine_waiting > 0 for load in loads) / len(loads) if loads else 0.0
    kv = max(usages, default=None)
    errors: dict[str, int] = {}
    for sample in samples:
        for reason, count in sample.errors.items():
            errors[reason] = errors.get(reason, 0) + count
    ttfts = [1000 * value for sample in samples for value in sample.ttfts]
    gaps = [1000 * value for sample in samples for value in sample.gaps]
    lengths = [length for sample in samples for length in sample.prompt_tokens]
    return Point(
        settings=settings,
        streams=streams,
        rate=rate,
        rate_low=rates[0],
        rate_high=rates[-1],
        ttft_p50=quantile(ttfts, 0.5),
        ttft_p95=quantile(ttfts, 0.95),
        gap_p50=quantile(gaps, 0.5),
        gap_p95=quantile(gaps, 0.95),
        prompt_tokens=statistics.median(lengths) if lengths else 0.0,
        kv_cache_usage=kv,
        waiting_share=waiting,
        failed=sum(errors.values()),
        errors=errors,
        constraint=_constraint(kv, waiting, rate, fewer),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """Return the order statistic below which that share of the values lies (nearest rank); 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def frontier(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other beats in both rate and inter-token latency, the slowest first."""
    whole = [point for point in points if not point.failed and point.rate > 0]
    return sorted((p for p in whole if not any(_beats(other, p) for other in whole)), key=lambda point: point.rate)


def recommended(points: Iterable[Point], limits: Limits) -> Point | None:
    """Return the point to take: of those as fast as the fastest within the limits, the one of least latency.

    As fast means at least 95 % of its rate: a smaller difference is within what two runs differ by.
    """
    allowed = [point for point in points if limits.allow(point)]
    if not allowed:
        return None
    best = max(point.rate for point in allowed)
    return min((p for p in allowed if p.rate >= IS_AS_GOOD * best), key=lambda point: (point.gap_p95, point.ttft_p95))


def as_json(points: Sequence[Point], limits: Limits, refused: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return everything for scripts. `refused` are the candidates that did not start."""
    best = recommended(points, limits)
    return {
        "points": [point.as_dict() for point in points],
        "frontier": [point.as_dict() for point in frontier(points)],
        "refused": list(refused),
        "recommended": best and {**best.as_dict(), "toml": toml(best.settings)},
    }


def _beats(one: Point, other: Point) -> bool:
    is_no_worse = one.rate >= other.rate and one.gap_p95 <= other.gap_p95
    return is_no_worse and (one.rate > other.rate or one.gap_p95 < other.gap_p95)


def _constraint(kv: float | None, waiting: float, rate: float, fewer: Point | None) -> Constraint:
    if kv is not None and kv >= KV_IS_FULL:
        return "kv"
    if waiting >= IS_WAITING:
        return "queue"
    return "compute" if fewer and rate < HAS_GROWN * fewer.rate else "streams"
