from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhousing.tuning.report import Limits, Point, frontier, point_of, quantile, recommended
from bellhousing.tuning.workload import Sample
from bellhousing.v1.discovery_pb2 import Load


def point(rate: float, gap: float, **changed: Any) -> Point:
    plain: dict[str, Any] = {
        "settings": {}, "streams": 1, "rate_low": rate, "rate_high": rate, "ttft_p50": 1.0, "ttft_p95": 1.0,
        "gap_p50": gap, "prompt_tokens": 1, "kv_cache_usage": None, "waiting_share": 0.0, "failed": 0, "errors": {},
        "constraint": "streams",
    }  # fmt: skip
    return Point(**{**plain, "rate": rate, "gap_p95": gap, **changed})


def sample(rate: float = 10.0, **load: Any) -> Sample:
    return Sample(seconds=1.0, tokens=int(rate), ttfts=[0.5], gaps=[0.1, 0.2], loads=[Load(**load)])


points = st.lists(st.builds(point, st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=12)


@given(points)
def test_nothing_beats_a_point_of_the_frontier_and_something_beats_every_other(found: list[Point]) -> None:
    edge = frontier(found)
    for one in found:
        beaten = any(
            o.rate >= one.rate and o.gap_p95 <= one.gap_p95 and (o.rate, o.gap_p95) != (one.rate, one.gap_p95)
            for o in found
        )
        assert beaten != (one in edge)


@given(points)
def test_the_recommended_point_is_nearly_the_fastest(found: list[Point]) -> None:
    best = recommended(found, Limits())
    assert best is not None
    assert best.rate >= 0.95 * max(one.rate for one in found)


def test_of_points_as_fast_the_one_with_less_latency_is_recommended() -> None:
    assert recommended([point(100, 50), point(97, 20), point(90, 1)], Limits()) == point(97, 20)


def test_limits_and_failures_exclude_points() -> None:
    found = [point(100, 50), point(50, 20), point(40, 10, failed=1), point(30, 9, ttft_p95=900.0)]
    assert recommended(found, Limits(gap=30)) == point(50, 20)
    assert recommended(found, Limits(ttft=500, gap=15)) is None


def test_the_frontier_holds_no_failed_point() -> None:
    assert frontier([point(100, 1, failed=1), point(50, 2)]) == [point(50, 2)]


@pytest.mark.parametrize(
    ("load", "fewer", "constraint"),
    [
        ({"kv_cache_usage": 0.97, "queued": 3}, None, "kv"),
        ({"kv_cache_usage": 0.2, "queued": 3}, None, "queue"),
        ({"engine_waiting": 1}, None, "queue"),
        ({}, point(9.5, 1), "compute"),
        ({}, point(5, 1), "streams"),
        ({}, None, "streams"),
    ],
)
def test_the_constraint_that_binds_is_named(load: dict[str, Any], fewer: Point | None, constraint: str) -> None:
    assert point_of({}, 2, [sample(**load)], fewer).constraint == constraint


def test_repeats_are_put_together() -> None:
    found = point_of({}, 2, [sample(30), sample(10), sample(20)], None)
    assert (found.rate_low, found.rate, found.rate_high) == (10, 20, 30)
    assert (found.ttft_p50, found.gap_p50, found.gap_p95) == (500, 200, 200)


def test_failed_requests_are_counted_by_reason() -> None:
    found = point_of({}, 2, [Sample(errors={"QUEUE_FULL": 2}), Sample(errors={"QUEUE_FULL": 1})], None)
    assert (found.failed, found.errors) == (3, {"QUEUE_FULL": 3})


def test_quantiles_are_order_statistics() -> None:
    assert quantile([], 0.5) == 0
    assert [quantile(range(1, 101), share) for share in (0.5, 0.95, 1.0)] == [51, 96, 100]
