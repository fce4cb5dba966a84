"""Policies of eviction, on the traces of the benchmark and against what their papers say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhousing.adapters.policies import POLICIES, PolicyName
from bellhousing.adapters.thrash import WINDOW_SECONDS, ThrashDetector
from benchmarks.adapter_policies import best_rate, hit_rate, scanned, shifting, zipf


@pytest.mark.parametrize("name", list(POLICIES))
@given(st.lists(st.integers(0, 12), max_size=200), st.integers(1, 6))
def test_no_policy_does_better_than_one_who_knows_the_future(name: PolicyName, trace: list[int], slots: int) -> None:
    if trace:
        assert 0 <= hit_rate(POLICIES[name](slots), trace) <= best_rate(trace, slots) + 1e-12


@pytest.mark.parametrize("name", list(POLICIES))
@given(st.lists(st.tuples(st.integers(0, 8), st.sets(st.integers(0, 8))), max_size=100))
def test_whoever_is_in_use_is_never_named(name: PolicyName, steps: list[tuple[int, set[int]]]) -> None:
    policy, resident = POLICIES[name](4), set[str]()
    for wanted, used in steps:
        policy.used(str(wanted))
        if str(wanted) in resident:
            continue
        candidates = {each for each in resident if int(each) not in used}
        if len(resident) >= 4:
            if not candidates:
                continue
            gone = policy.victim(candidates)
            assert gone in candidates
            resident.discard(gone)
            policy.left(gone)
        resident.add(str(wanted))
        policy.brought(str(wanted))


def test_the_default_is_better_than_lru_where_some_are_more_popular_and_where_jobs_scan() -> None:
    for trace in (zipf(0, 1.0), scanned(0), shifting(0)):
        assert hit_rate(POLICIES["s3-fifo"](8), trace) > hit_rate(POLICIES["lru"](8), trace) + 0.05


def test_reloads_far_apart_are_no_thrashing() -> None:
    now = [0.0]
    detector = ThrashDetector(2, lambda: now[0])
    for _ in range(20):
        detector.evicted("poet")
        now[0] += WINDOW_SECONDS + 1
        assert detector.loaded("poet") == 0


def test_thrashing_is_told_once_a_minute() -> None:
    now = [0.0]
    detector, told = ThrashDetector(2, lambda: now[0]), list[int]()
    for _ in range(100):
        detector.evicted("poet")
        now[0] += 1
        told.append(detector.loaded("poet"))
    assert len([reloads for reloads in told if reloads]) == 2
