"""`bellhousing tune` on the simulator, whose rate under each setting is known."""

import re
import tomllib
from pathlib import Path

import psutil
import pytest

from tests.core.cli.conftest import Run

FAST = ("--prompt-tokens", "8", "--output-tokens", "16", "--requests", "1", "--repeats", "1")
PACED = ("--backend", "simulator", "-o", "inter_token_seconds=0.01", "-o", "context_length=200")


def test_more_places_in_the_batch_serve_more_and_are_recommended(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "tune.html"
    tries = ("--try", "batching.max_sequences=1,8")
    ran = run("tune", *PACED, *FAST, *tries, "--streams", "1,8", "--plot", str(page), "--json")
    assert ran.code == 0, ran.err
    rates = {(p["settings"]["batching.max_sequences"], p["streams"]): p["rate"] for p in ran.value["points"]}
    assert rates[8, 8] > 3 * rates[1, 8]
    bound = {(p["settings"]["batching.max_sequences"], p["streams"]): p["constraint"] for p in ran.value["points"]}
    assert bound[1, 8] == "queue"
    best = ran.value["recommended"]
    assert (best["settings"]["batching.max_sequences"], best["streams"]) == (8, 8)
    assert tomllib.loads(best["toml"]) == {"batching": {"max_sequences": 8}}
    assert "plotly" in page.read_text()


def test_a_person_gets_a_table_and_the_line_for_the_file_alone_on_standard_output(run: Run) -> None:
    ran = run("tune", *PACED, *FAST, "--try", "batching.max_sequences=4", "--streams", "2")
    assert ran.code == 0, ran.err
    assert re.search(r"\* +max_sequences 4 +2 +[\d.]+ \(", ran.out)
    assert ran.out.endswith("batching.max_sequences = 4\n")
    assert "1 of 1, max_sequences 4: 2 streams" in ran.err


def test_a_candidate_that_cannot_start_is_told_and_the_others_go_on(run: Run) -> None:
    tries = ("--try", "options.end_probability=7,0.01")
    ran = run("tune", *PACED, *FAST, *tries, "--streams", "1", "--json")
    assert ran.code == 0, ran.err
    (refused,) = ran.value["refused"]
    assert refused["settings"] == {"options.end_probability": 7}
    assert "end_probability" in refused["message"]
    assert len(ran.value["points"]) == 1


def test_limits_that_nothing_keeps_are_a_failure(run: Run) -> None:
    ran = run("tune", *PACED, *FAST, "--try", "batching.max_sequences=4", "--streams", "1", "--max-ttft-ms", "0")
    assert ran.code == 1
    assert "nothing to recommend" in ran.err


def test_failed_requests_are_counted_and_not_recommended(run: Run) -> None:
    fault = 'faults=[{"kind": "error"}]'
    ran = run("tune", *PACED, "-o", fault, *FAST, "--try", "batching.max_sequences=4", "--streams", "2", "--json")
    assert ran.code == 1
    assert ran.value["points"][0]["failed"] == 2
    assert ran.value["recommended"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--streams", "0"), "--streams: expected numbers such as 1,4,16, found '0'"),
        (("--try", "max_sequences=1"), "expected PATH=VALUE,VALUE"),
        (("other",), "MODEL: expected one of sim, found 'other'"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, arguments: tuple[str, ...], message: str) -> None:
    ran = run("tune", *PACED, "--name", "sim", *arguments)
    assert ran.code == 2
    assert message in ran.err


def test_no_server_is_left_behind(run: Run) -> None:
    run("tune", *PACED, *FAST, "--try", "batching.max_sequences=4", "--streams", "1")
    served = [p for p in psutil.process_iter(["cmdline"]) if "bellhousing-tune-" in " ".join(p.info["cmdline"] or ())]
    assert not served
