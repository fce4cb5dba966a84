from pathlib import Path

import pytest

from tools.generated import table, write_or_check


def test_what_was_written_is_up_to_date(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    assert write_or_check(document, "text\n", []) == 0
    assert write_or_check(document, "text\n", ["--check"]) == 0


def test_a_check_reports_the_difference_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "page.md"
    document.write_text("edited by hand\n")
    assert write_or_check(document, "text\n", ["--check"]) == 1
    assert document.read_text() == "edited by hand\n"
    message = capsys.readouterr().err
    assert "-edited by hand" in message
    assert "+text" in message


def test_a_check_reports_a_missing_document(tmp_path: Path) -> None:
    assert write_or_check(tmp_path / "page.md", "text\n", ["--check"]) == 1


def test_a_table_escapes_bars_in_cells() -> None:
    assert table(("a", "b"), [("x | y", "z")]) == ["| a | b |", "|---|---|", "| x \\| y | z |"]
