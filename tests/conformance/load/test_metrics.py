import math
from dataclasses import replace

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.metrics import METRICS, chunk_gaps, goodput, metric, throughput
from bellhousing_conformance.load.record import NOT_SENT, Sent

MS = 1_000_000
ROW = Sent(
    index=0,
    phase="measured",
    session=None,
    adapter="",
    prompt_tokens=3,
    intended_ns=10 * MS,
    sent_ns=12 * MS,
    first_ns=32 * MS,
    last_ns=92 * MS,
    end_ns=100 * MS,
    first_tokens=2,
    tokens=8,
    usage_tokens=8,
    code="OK",
    gaps=((20 * MS, 2), (20 * MS, 1), (40 * MS, 5)),
    queue_ns=4 * MS,
)
FAILED = replace(ROW, code="INTERNAL")


@pytest.mark.parametrize(("name", "seconds"), [
    ("ttft", 0.022),
    ("service_ttft", 0.020),
    ("send_delay", 0.002),
    ("tpot", 0.010),
    ("max_stall", 0.040),
    ("e2el", 0.090),
    ("ntpot", 0.01125),
    ("queue", 0.004),
])  # fmt: skip
def test_each_metric_is_its_formula(name: str, seconds: float) -> None:
    assert METRICS[name].of(ROW) == pytest.approx(seconds)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "send_delay"])
def test_a_failure_is_infinitely_slow(name: str) -> None:
    assert METRICS[name].of(FAILED) == math.inf


def test_a_request_that_was_never_sent_is_infinitely_slow() -> None:
    row = Sent(0, "measured", 1, "", None, 5, 5, None, None, 5, 0, 0, None, NOT_SENT, turn=1)
    assert METRICS["ttft"].of(row) == math.inf


def test_tpot_is_undefined_where_all_tokens_came_at_once() -> None:
    row = replace(ROW, gaps=ROW.gaps[:1], tokens=2, last_ns=ROW.first_ns)
    assert METRICS["tpot"].of(row) is None
    assert METRICS["tpot"].values([row, ROW]) == [METRICS["tpot"].of(ROW)]


def test_chunk_gaps_leave_out_the_first_message() -> None:
    assert chunk_gaps(ROW) == [0.02, 0.04]


def test_an_id_and_a_formula_are_hashed_together() -> None:
    known = METRICS["ttft"]
    assert known.id == "ttft/1"
    assert replace(known, version=2).formula_hash != known.formula_hash
    assert replace(known, formula="f - a").formula_hash != known.formula_hash
    assert len({each.formula_hash for each in METRICS.values()}) == len(METRICS)


def test_throughput_counts_tokens_received_in_the_window_alone() -> None:
    assert throughput([ROW], 0, 60 * MS) == pytest.approx(3 / 0.06)
    assert throughput([ROW], 32 * MS, 92 * MS) == pytest.approx(3 / 0.06)
    assert throughput([FAILED], 0, 100 * MS) == pytest.approx(8 / 0.1)


def test_goodput_counts_what_meets_every_limit() -> None:
    assert goodput([ROW, FAILED], {"ttft": 0.1}, 0, 100 * MS) == pytest.approx(10)
    assert goodput([ROW], {"ttft": 0.1, "tpot": 0.009}, 0, 100 * MS) == 0
    assert goodput([ROW], {"ttft": 0.1}, 11 * MS, 100 * MS) == 0


def test_a_limit_on_a_metric_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match="no metric is named 'ttfb'; there are ttft, "):
        goodput([ROW], {"ttfb": 1}, 0, 1)
    with pytest.raises(ConfigurationError, match="'latency'"):
        metric("latency")


def test_a_window_without_length_has_no_rate() -> None:
    with pytest.raises(ValueError, match="window"):
        throughput([ROW], 5, 5)
