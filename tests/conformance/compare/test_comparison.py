"""What a comparison comes to, of blocks whose service times are known."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from bellhousing_conformance.compare.blocks import BLOCK_FILE, BLOCKS, OPEN, Arm, BlockRecord, order_of, seed_of
from bellhousing_conformance.compare.comparison import (
    COMPARISON_FILE,
    Comparison,
    MetricResult,
    comparison_of,
    disagreements,
)
from bellhousing_conformance.compare.writers import write_forms
from bellhousing_conformance.load.record import ROWS_FILE
from tests.conformance.compare.folders import PAIRS, compared, service, subject, write_block

SAME: dict[Arm, float] = {"a": 1.0, "b": 1.0, "again": 1.0}
SLOWER: dict[Arm, float] = {"a": 1.2, "b": 1.0, "again": 1.2}


def metric(comparison: Comparison, name: str) -> MetricResult:
    return next(each for each in comparison.metrics if each.name == name)


def test_a_side_with_service_times_20_percent_longer_is_slower_by_that(tmp_path: Path) -> None:
    compared(tmp_path, SLOWER)
    found = comparison_of(tmp_path)
    for name in ("ttft_p50", "tpot_p50", "e2el_p50"):
        told = metric(found, name)
        assert told.ratio == pytest.approx(1.2, rel=0.02)
        assert told.low is not None
        assert told.high is not None
        assert told.low < 1.2 < told.high
        assert (told.verdict, told.word) == ("worse", "slower")
    assert metric(found, "throughput").word == "slower"
    assert metric(found, "throughput").ratio == pytest.approx(1 / 1.2, rel=0.04)
    assert found.exit_code == 0


def test_the_same_service_times_are_equivalent_within_a_stated_margin(tmp_path: Path) -> None:
    compared(tmp_path, SAME)
    found = comparison_of(tmp_path)
    assert {each.verdict for each in found.metrics} == {"equivalent"}
    assert {each.margin for each in found.metrics} == {0.05}
    assert found.exit_code == 0


def test_the_means_of_an_arm_are_those_of_its_service_times(tmp_path: Path) -> None:
    compared(tmp_path, SLOWER, noise=0.0)
    told = metric(comparison_of(tmp_path), "ttft_p50").means
    assert told["a"] == pytest.approx(service(1.2).first_token)
    assert told["b"] == pytest.approx(service(1.0).first_token)


def test_the_sentence_has_ratio_interval_sample_floor_and_what_was_rejected(tmp_path: Path) -> None:
    compared(tmp_path, SLOWER, noise=0.001)
    text = metric(comparison_of(tmp_path), "ttft_p50").text
    assert text.startswith("A/B TTFT p50 1.20\N{MULTIPLICATION SIGN} [1.")
    assert f"{PAIRS} pairs, A/A floor ±" in text
    assert text.endswith("0 blocks rejected")


def test_noise_of_the_machine_widens_the_floor_and_decides_nothing(tmp_path: Path) -> None:
    compared(tmp_path, {"a": 1.1, "b": 1.0, "again": 1.1}, noise=0.2)
    found = comparison_of(tmp_path)
    told = metric(found, "tpot_p50")
    assert told.floor is not None
    assert told.floor > 0.1
    assert told.verdict == "inconclusive"
    assert found.exit_code == 4


def test_processor_time_of_a_token_is_told_of_servers_that_were_started_alone(tmp_path: Path) -> None:
    compared(tmp_path / "started", SAME, cpu={"a": 0.003, "b": 0.002, "again": 0.00301})
    compared(tmp_path / "endpoints", SAME)
    told = metric(comparison_of(tmp_path / "started"), "cpu_per_token")
    assert told.ratio == pytest.approx(1.5)
    assert told.word == "dearer"
    assert "cpu_per_token" not in {each.name for each in comparison_of(tmp_path / "endpoints").metrics}


def test_a_block_that_breaks_the_rule_takes_its_pair_with_it_and_the_next_attempt_counts(tmp_path: Path) -> None:
    asked = compared(tmp_path, SAME)
    spoil(next((tmp_path / BLOCKS).glob("0003-0-*-b")), steal=0.5)
    lost = comparison_of(tmp_path)
    assert (lost.pairs, lost.rejected_pairs, lost.rejected_blocks) == (PAIRS - 1, 1, 1)
    assert lost.exit_code == 4  # a pair is missing
    for place, arm in enumerate(order_of(1, 0, 0)):
        record = BlockRecord(3, 1, place, arm, seed_of(asked.seed, 3, 1), "", 12.0)
        write_block(asked, tmp_path, record, 1.0 + place / 1000)
    again = comparison_of(tmp_path)
    assert (again.pairs, again.rejected_pairs, again.is_conclusive) == (PAIRS, 1, True)
    assert "1 block rejected" in metric(again, "ttft_p50").text


def test_above_a_fifth_of_rejected_pairs_nothing_is_decided(tmp_path: Path) -> None:
    asked = compared(tmp_path, SLOWER)
    for pair in range(3):
        for place, arm in enumerate(order_of(1, 0, 0)):
            record = BlockRecord(pair, 1, place, arm, seed_of(asked.seed, pair, 1), "", 12.0)
            spoil(write_block(asked, tmp_path, record, 1.0), steal=0.03)
    found = comparison_of(tmp_path)
    assert (found.pairs, found.rejected_pairs) == (PAIRS, 3)
    assert {each.verdict for each in found.metrics} == {"inconclusive"}
    assert "3 of 11 pairs were rejected" in found.reasons[0]
    assert found.exit_code == 4


def test_an_unfinished_comparison_decides_nothing(tmp_path: Path) -> None:
    compared(tmp_path, SLOWER)
    for file in next((tmp_path / BLOCKS).glob("0007-*")).rglob("*"):
        if file.is_file():
            file.unlink()
    drop_empty(tmp_path / BLOCKS)
    found = comparison_of(tmp_path)
    assert (found.pairs, found.broken_off) == (PAIRS - 1, 1)
    assert "the comparison is not finished" in found.reasons[0]
    assert {each.verdict for each in found.metrics} == {"inconclusive"}


def test_most_requests_of_a_block_failing_leaves_no_ratio_and_is_not_left_out(tmp_path: Path) -> None:
    compared(tmp_path, SAME)
    own = next((tmp_path / BLOCKS).glob("0002-0-*-b")) / OPEN / ROWS_FILE
    head, *rows = own.read_bytes().splitlines()
    failed = [msgspec.json.encode({**msgspec.json.decode(row), "code": "UNAVAILABLE"}) for row in rows]
    kept = [row if index % 3 == 0 else failed[index] for index, row in enumerate(rows)]
    own.write_bytes(b"\n".join([head, *kept]) + b"\n")
    found = comparison_of(tmp_path)
    told = metric(found, "ttft_p50")
    assert told.verdict == "inconclusive"
    assert "1 pairs have no ratio" in told.reason
    assert any("requests of B failed" in caution for caution in found.cautions)


@pytest.mark.parametrize(("other", "words"), [
    ({}, "iso-precision: both have the weights"),
    ({"precision": "Q4_1"}, "not iso-precision: A has float16, B has Q4_1"),
    ({"model_digest": "sha256:2"}, "not iso-precision: the digests of the weights differ"),
    ({"model_digest": ""}, "not iso-precision: B does not tell"),
])  # fmt: skip
def test_whether_precision_is_the_same_is_what_the_endpoints_say(
    tmp_path: Path, other: dict[str, str], words: str
) -> None:
    compared(tmp_path, SAME, subjects=(subject(), subject(**other)), pairs=1)
    assert comparison_of(tmp_path).precision.startswith(words)


def test_every_figure_of_a_comparison_follows_from_its_rows(tmp_path: Path) -> None:
    compared(tmp_path, SLOWER)
    write_forms(comparison_of(tmp_path), tmp_path)
    assert disagreements(tmp_path) == []


def test_a_changed_figure_a_changed_rate_and_a_missing_block_are_seen(tmp_path: Path) -> None:
    compared(tmp_path, SLOWER)
    write_forms(comparison_of(tmp_path), tmp_path)
    file = tmp_path / COMPARISON_FILE
    told = json.loads(file.read_text())
    told["metrics"][0]["ratio"] = 1.0
    told["calibration"]["capacity"]["a"]["requests_per_second"] *= 2
    file.write_text(json.dumps(told))
    assert [fault.partition(":")[0] for fault in disagreements(tmp_path)] == ["calibration", "metrics"]
    spoil(next((tmp_path / BLOCKS).iterdir()), steal=0.5)
    assert {"pairs", "blocks"} <= {fault.partition(":")[0] for fault in disagreements(tmp_path)}


def test_a_shorter_output_of_one_side_is_called_another_load(tmp_path: Path) -> None:
    compared(tmp_path, SAME, pairs=1)
    own = next((tmp_path / BLOCKS).glob("*-b")) / OPEN / ROWS_FILE
    head, *rows = own.read_bytes().splitlines()
    cut = [msgspec.json.decode(row) for row in rows]
    for row in cut:
        row |= {"gaps": row["gaps"][:4], "tokens": 4, "usage_tokens": 4}
        row["last_ns"] = row["sent_ns"] + sum(gap for gap, _ in row["gaps"])
    own.write_bytes(b"\n".join([head, *map(msgspec.json.encode, cut)]) + b"\n")
    assert any(
        "outputs of A have 8 tokens on average, those of B 4" in each for each in comparison_of(tmp_path).cautions
    )


def spoil(folder: Path, *, steal: float) -> None:
    """Change what is known of a block."""
    file = folder / BLOCK_FILE
    record = msgspec.json.decode(file.read_bytes(), type=BlockRecord)
    file.write_bytes(msgspec.json.encode(replace(record, steal=steal)))


def drop_empty(folder: Path) -> None:
    """Remove the folders that have lost their files."""
    for each in sorted(folder.rglob("*"), reverse=True):
        if each.is_dir() and not any(each.iterdir()):
            each.rmdir()
