"""Who is measured when, with what, and which blocks do not count."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.compare.blocks import (
    ARMS,
    BLOCK_FILE,
    BLOCKS,
    Block,
    BlockRecord,
    order_of,
    read_block,
    read_blocks,
    seed_of,
)
from bellhousing_conformance.compare.loads import closed_load, open_load
from bellhousing_conformance.load.record import Sent
from tests.conformance.compare.folders import ENDPOINT, FLOOR, settings, write_block
from tests.conformance.load.rows import shifted

RECORD = BlockRecord(0, 0, 0, "a", seed_of(5, 0, 0), "", 12.0)


@pytest.fixture
def block(tmp_path: Path) -> Block:
    return read_block(write_block(settings(), tmp_path, RECORD, 1.0))


def with_open_rows(block: Block, rows: list[Sent]) -> Block:
    return replace(block, open_rows=rows)


def test_each_order_of_the_arms_comes_once_in_six_pairs_and_seeds_differ() -> None:
    orders = [order_of(3, pair, 0) for pair in range(60)]
    assert set(Counter(orders).values()) == {10}
    assert orders[:6] != [order_of(4, pair, 0) for pair in range(6)]
    assert len({seed_of(3, pair, attempt) for pair in range(20) for attempt in range(3)}) == 60


def test_a_pair_that_is_measured_again_has_another_order_to_draw() -> None:
    assert {order_of(3, 0, attempt) for attempt in range(40)} == set(map(tuple, {order_of(3, p, 0) for p in range(6)}))


def test_all_arms_of_a_pair_get_the_same_times_and_lengths_in_texts_that_no_other_has() -> None:
    asked = settings()
    plans = {arm: open_load(asked, ENDPOINT, 5.0, 11, arm).plan for arm in ARMS}
    times = {arm: [(each.intended_ns, each.max_tokens, each.seed) for each in plan] for arm, plan in plans.items()}
    assert times["a"] == times["b"] == times["again"]
    assert len({len(each.prompt) for plan in plans.values() for each in plan}) == 1
    beginnings = [each.prompt[:16] for plan in plans.values() for each in plan]
    assert len(set(beginnings)) == len(beginnings)


def test_a_block_has_a_warm_up_that_is_not_measured_and_a_closed_loop_of_its_third() -> None:
    asked = settings()
    opened, closed = open_load(asked, ENDPOINT, 5.0, 1, "a"), closed_load(asked, ENDPOINT, asked.closed_seconds, 1, "a")
    assert [(phase.end_ns, phase.is_measured) for phase in opened.phases] == [
        (800_000_000, False),
        (8_000_000_000, True),
    ]
    assert closed.phases[-1].end_ns == 4_000_000_000


def test_a_block_of_a_sender_that_kept_to_its_schedule_counts(block: Block) -> None:
    assert block.rejections(FLOOR) == []


@pytest.mark.parametrize(("told", "words"), [
    ({"steal": 0.021}, "steal: expected at most 2%, found 2.1%"),
    ({"idle_share": 0.05}, "the side that waits: expected at most 2% of a processor, found 5%"),
])  # fmt: skip
def test_a_machine_that_gave_its_time_to_others_makes_the_block_not_count(
    block: Block, told: dict[str, float], words: str
) -> None:
    spoilt = replace(block, record=replace(block.record, **told))  # type: ignore[arg-type]
    assert spoilt.rejections(FLOOR) == [words]


def test_what_the_system_does_not_tell_is_no_reason(block: Block) -> None:
    assert replace(block, record=replace(block.record, steal=None, idle_share=None)).rejections(FLOOR) == []


def test_loop_lag_may_be_longer_than_in_a_load_run_up_to_20_ms(block: Block) -> None:
    for lag_ns, count in ((15_000_000, 0), (21_000_000, 1)):
        samples = tuple(replace(sample, lag_ns=lag_ns) for sample in block.open_info.samples)
        late = replace(block, open_info=replace(block.open_info, samples=samples))
        assert len([each for each in late.rejections(FLOOR) if "loop lag p99" in each]) == count


def test_one_request_sent_late_counts_and_half_of_them_do_not(block: Block) -> None:
    one = [shifted(row, 15_000_000) if row.index == 20 else row for row in block.open_rows]
    half = [shifted(row, 6_000_000) if row.index % 3 else row for row in block.open_rows]
    assert not [each for each in with_open_rows(block, one).rejections(FLOOR) if "send delay" in each]
    assert [each for each in with_open_rows(block, half).rejections(FLOOR) if "send delay p50" in each]


def test_a_lost_request_makes_the_block_not_count(block: Block) -> None:
    lost = with_open_rows(block, list(block.open_rows[:-1]))
    assert any("open loop, request ledger" in each for each in lost.rejections(FLOOR))


def test_a_sender_that_measures_itself_makes_the_block_not_count(block: Block) -> None:
    assert any("null floor" in each for each in block.rejections(dict.fromkeys(FLOOR, 0.02)))


def test_the_rule_does_not_look_at_the_side(tmp_path: Path) -> None:
    for arm in ARMS:
        found = read_block(write_block(settings(), tmp_path, replace(RECORD, arm=arm), 1.0))
        assert replace(found, record=replace(found.record, steal=0.5)).rejections(FLOOR) == [
            "steal: expected at most 2%, found 50.0%"
        ]


def test_a_target_that_went_away_is_not_a_noisy_machine(block: Block) -> None:
    gone = [replace(row, code="UNAVAILABLE") if row.index > 20 else row for row in block.open_rows]
    assert block.is_reachable
    assert not with_open_rows(block, gone).is_reachable


def test_what_is_half_written_is_no_block_and_a_moved_one_is_refused(tmp_path: Path) -> None:
    own = write_block(settings(), tmp_path, RECORD, 1.0)
    own.rename(own.with_name(own.name + ".part"))
    assert read_blocks(tmp_path) == []
    moved = own.with_name("0007-0-0-a")
    own.with_name(own.name + ".part").rename(moved)
    with pytest.raises(ConfigurationError, match="expected to lie in '0000-0-0-a', found in '0007-0-0-a'"):
        read_blocks(tmp_path)
    (moved / BLOCK_FILE).write_text("{")
    with pytest.raises(ConfigurationError, match=r"block\.json"):
        read_block(tmp_path / BLOCKS / moved.name)
