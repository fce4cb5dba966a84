from collections import Counter

import pytest
from pydantic import ValidationError

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.record import Arrivals
from bellhousing_conformance.load.schedule import Schedule, Stage, drawn
from bellhousing_conformance.load.traces import BLOCK_TOKENS, TraceRow
from bellhousing_conformance.load.workload import (
    Lengths,
    Planned,
    Workload,
    digest_of_plan,
    plan_of,
    plan_of_closed,
    plan_of_trace,
)

ROWS = [
    TraceRow(0.0, 1100, 20, blocks=(1, 2, 3)),
    TraceRow(1.0, 1100, 40, blocks=(1, 9, 4)),
    TraceRow(2.0, 30, 10, session="a"),
    TraceRow(2.5, 30, 10, session="a", delay=0.5),
    TraceRow(6.0, 30, 10),
]


def schedule(seconds: float = 20) -> Schedule:
    return drawn(Arrivals("poisson", 50), [Stage("measured", 50, seconds)], 1)


def plan(seed: int = 1, **settings: object) -> list[Planned]:
    return plan_of(schedule(), Workload.model_validate(settings), seed)


def words(text: str) -> int:
    return len(text.split())


def test_a_seed_decides_everything_that_is_asked() -> None:
    assert plan(1) == plan(1)
    assert digest_of_plan(plan(1)) != digest_of_plan(plan(2))


def test_requests_have_the_schedule_s_times_and_their_own_indices() -> None:
    made = plan()
    assert [each.intended_ns for each in made] == list(schedule().times_ns)
    assert [each.index for each in made] == list(range(len(made)))


def test_lengths_lie_between_their_ends() -> None:
    made = plan(prompt_tokens=Lengths(low=10, high=20), output_tokens=Lengths(low=3, high=4))
    assert {words(each.prompt) for each in made} == set(range(10, 21))
    assert {each.max_tokens for each in made} == {3, 4}


def test_tokens_of_a_word_make_prompts_shorter() -> None:
    assert {words(each.prompt) for each in plan(prompt_tokens=Lengths(low=40, high=40), tokens_per_word=2)} == {20}


def test_no_two_prompts_begin_alike() -> None:
    beginnings = Counter(each.prompt[:16] for each in plan())
    assert max(beginnings.values()) == 1


def test_prompts_share_their_prefixes_evenly_and_nothing_else() -> None:
    made = plan(prefixes=4, prefix_tokens=50)
    shared = {each.prefix: " ".join(each.prompt.split()[:50]) for each in made}
    assert len(set(shared.values())) == 4
    assert all(each.prompt.startswith(shared[each.prefix]) for each in made)
    assert min(Counter(each.prefix for each in made).values()) > len(made) / 8
    assert max(Counter(" ".join(each.prompt.split()[50:58]) for each in made).values()) == 1


def test_a_run_s_prefixes_are_its_own() -> None:
    first, second = (plan(seed, prefixes=1, prefix_tokens=50)[0].prompt[:40] for seed in (1, 2))
    assert first != second


def test_adapters_are_asked_for_by_zipf_s_law() -> None:
    counts = Counter(each.adapter for each in plan(adapters=("", "a", "b"), zipf=1.0))
    total = sum(counts.values())
    for place, name in enumerate(("", "a", "b"), 1):
        expected = (1 / place) / (1 + 1 / 2 + 1 / 3)
        assert counts[name] / total == pytest.approx(expected, abs=0.06)


def test_each_arrival_of_sessions_begins_one_with_all_its_turns() -> None:
    made = plan(turns=3, think_seconds=0.5, adapters=("a", "b"))
    first = [each for each in made if each.session == 0]
    assert [(each.turn, each.wait_ns, each.intended_ns is None) for each in first] == [
        (0, 0, False),
        (1, 500_000_000, True),
        (2, 500_000_000, True),
    ]
    assert len({each.adapter for each in first}) == 1
    assert sorted(each.index for each in made) == list(range(len(made)))


def test_a_closed_loop_has_as_many_requests_as_it_may_send() -> None:
    assert len(plan_of_closed(5, Workload(), 1, "capacity")) == 5


def test_a_trace_gives_times_lengths_and_rate() -> None:
    schedule, made = plan_of_trace("t", ROWS, Workload(), 1)
    assert schedule.times_ns == (0, 1_000_000_000, 2_000_000_000, 6_000_000_000)
    assert schedule.arrivals.rate == pytest.approx(4 / 6)
    assert sorted(words(each.prompt) for each in made) == [30, 30, 30, 1100, 1100]
    assert sorted(each.index for each in made) == list(range(5))


def test_equal_blocks_of_a_trace_are_equal_beginnings() -> None:
    made = plan_of_trace("t", ROWS, Workload(), 1)[1]
    first, second = (each.prompt.split() for each in made if words(each.prompt) == 1100)
    assert first[:BLOCK_TOKENS] == second[:BLOCK_TOKENS]
    assert first[BLOCK_TOKENS : BLOCK_TOKENS + 20] != second[BLOCK_TOKENS : BLOCK_TOKENS + 20]


def test_a_session_of_a_trace_keeps_its_turns_and_its_delays() -> None:
    turns = [each for each in plan_of_trace("t", ROWS, Workload(), 1)[1] if each.session is not None]
    assert [(each.turn, each.wait_ns, each.intended_ns) for each in turns] == [
        (0, 0, 2_000_000_000),
        (1, 500_000_000, None),
    ]


def test_a_slice_of_a_trace_ends_where_it_is_told_but_for_sessions_within() -> None:
    schedule, made = plan_of_trace("t", ROWS, Workload(), 1, 3.0)
    assert len(schedule.times_ns) == 3
    assert len(made) == 4
    assert schedule.arrivals.rate == pytest.approx(1.0)


def test_a_trace_is_scaled_by_one_factor_until_all_of_it_fits() -> None:
    made = plan_of_trace("t", ROWS, Workload(context_length=570), 1)[1]
    lengths = sorted((words(each.prompt), each.max_tokens) for each in made)
    assert lengths[-1] == (550, 20)
    assert lengths[0] == (15, 5)
    assert all(prompt + output <= 570 for prompt, output in lengths)


def test_a_trace_is_scaled_until_the_last_turn_of_every_session_fits() -> None:
    turns = [TraceRow(float(n), 800, 100, "a", 1.0 if n else None) for n in range(3)]
    made = plan_of_trace("t", [*turns, TraceRow(3.0, 80, 10)], Workload(context_length=1000), 1)[1]
    session = [each for each in made if each.session is not None]
    assert 990 <= sum(words(each.prompt) + each.max_tokens for each in session) <= 1000


def test_a_session_of_a_trace_keeps_its_adapter() -> None:
    turns = [TraceRow(float(n), 8, 1, "a", 1.0 if n else None) for n in range(9)]
    made = plan_of_trace("t", turns, Workload(adapters=("x", "y", "z")), 1)[1]
    assert len({each.adapter for each in made}) == 1


def test_a_trace_lasts_until_its_last_request_wherever_that_stands() -> None:
    late = TraceRow(2.0, 8, 1, "a", 2.0)
    rows = [TraceRow(0, 8, 1, "a"), TraceRow(5, 8, 1), TraceRow(10, 8, 1), late]
    schedule, _ = plan_of_trace("t", rows, Workload(), 1)
    assert schedule.phases[0].end_ns == 10_000_000_000
    assert schedule.arrivals.rate == pytest.approx(0.3)


@pytest.mark.parametrize("seconds", [float("inf"), float("nan")])
def test_a_slice_of_a_trace_without_an_end_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="expected a number of seconds"):
        plan_of_trace("t", ROWS, Workload(), 1, seconds)


def test_a_trace_whose_requests_come_all_at_once_has_no_rate() -> None:
    with pytest.raises(ConfigurationError, match="found 2 at once"):
        plan_of_trace("t", [TraceRow(0, 1, 1), TraceRow(0, 1, 1)], Workload(), 1)


@pytest.mark.parametrize("settings", [
    {"prompt_tokens": {"low": 0, "high": 1}},
    {"prompt_tokens": {"low": 5, "high": 4}},
    {"adapters": ()},
    {"prefixes": 2},
    {"turns": 0},
    {"tokens_per_word": 0},
    {"think_seconds": float("inf")},
    {"no_such": 1},
])  # fmt: skip
def test_a_workload_that_cannot_be_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Workload.model_validate(settings)
