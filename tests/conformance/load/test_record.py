import resource
from dataclasses import replace
from pathlib import Path

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.record import (
    ROWS_FILE,
    RUN_FILE,
    SCHEMA,
    Sent,
    forget_load,
    read_rows,
    read_run,
    write_load,
)
from tests.conformance.load.rows import perfect


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = perfect(seconds=5)
    write_load(run.rows, run.info, tmp_path)
    assert read_rows(tmp_path) == list(run.rows)
    assert read_run(tmp_path) == run.info


def test_stamps_are_the_sums_of_the_gaps() -> None:
    row = perfect(seconds=5).rows[0]
    assert row.stamps[0] == (row.first_ns, 1)
    assert row.stamps[-1] == (row.last_ns, 1)


@pytest.mark.parametrize(("change", "words"), [
    ({"tokens": 99}, "tokens: expected 16 from its gaps, found 99"),
    ({"first_ns": 0}, "first_ns: expected"),
    ({"end_ns": 0}, "its stamps go backwards"),
])  # fmt: skip
def test_a_row_that_contradicts_itself_is_refused_with_its_line(
    change: dict[str, int], words: str, tmp_path: Path
) -> None:
    run = perfect(seconds=5)
    write_load([run.rows[0], replace(run.rows[1], **change)], run.info, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=f"line 3: request 1: {words}"):
        read_rows(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", '{"schema": "other/1"}', "[1]"])
def test_a_file_of_another_schema_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / ROWS_FILE).write_text(content)
    with pytest.raises(ConfigurationError, match=r"sent\.jsonl"):
        read_rows(tmp_path)


def test_a_line_that_is_cut_is_refused_with_its_number(tmp_path: Path) -> None:
    (tmp_path / ROWS_FILE).write_text(f'{{"schema": "{SCHEMA}"}}\n{{"index": 0, "pha')
    with pytest.raises(ConfigurationError, match="line 2"):
        read_rows(tmp_path)


def test_an_absent_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected a file"):
        read_run(tmp_path)


def test_when_the_disk_takes_no_more_nothing_is_left_of_the_run(tmp_path: Path) -> None:
    run = perfect(seconds=30)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(ConfigurationError, match="cannot be written: File too large; nothing was kept"):
            write_load(run.rows, run.info, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_run_can_be_forgotten(tmp_path: Path) -> None:
    run = perfect(seconds=5)
    write_load(run.rows, run.info, tmp_path)
    forget_load(tmp_path)
    assert not (tmp_path / RUN_FILE).exists()
    assert not (tmp_path / ROWS_FILE).exists()


def test_a_row_without_tokens_has_no_stamps() -> None:
    row = Sent(0, "measured", None, "", None, 0, 5, None, None, 9, 0, 0, None, "INTERNAL")
    assert row.stamps == ()
    assert row.faults() == []
