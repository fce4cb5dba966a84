from pathlib import Path

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.traces import TraceRow, read_trace

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:01+00:00,2399,6
"""
MOONCAKE = """{"timestamp": 1000, "input_length": 655, "output_length": 52, "hash_ids": [46, 47]}
{"timestamp": 3500, "input_length": 672, "output_length": 26, "hash_ids": [46, 48]}
"""
SESSIONS = """{"timestamp": 0, "input_length": 10, "output_length": 5, "session_id": "a"}
{"timestamp": 100, "input_length": 10, "output_length": 5, "session_id": "b"}
{"input_length": 20, "output_length": 6, "session_id": "a", "delay": 500}
{"timestamp": 700, "input_length": 30, "output_length": 7, "session_id": "b"}
"""


def read(folder: Path, text: str, form: str) -> list[TraceRow]:
    file = folder / "trace"
    file.write_text(text)
    return read_trace(file, form)


def test_azure_has_dates_with_seven_digits(tmp_path: Path) -> None:
    rows = read(tmp_path, AZURE, "azure")
    assert [row.seconds for row in rows] == pytest.approx([0, 4.314579])
    assert (rows[1].prompt_tokens, rows[1].output_tokens) == (396, 109)


def test_azure_has_dates_with_a_zone(tmp_path: Path) -> None:
    assert [row.seconds for row in read(tmp_path, AZURE_2024, "azure")] == pytest.approx([0, 0.99007])


@pytest.mark.parametrize("form", ["mooncake", "aiperf"])
def test_mooncake_and_aiperf_have_milliseconds_and_blocks(form: str, tmp_path: Path) -> None:
    assert read(tmp_path, MOONCAKE, form) == [
        TraceRow(0.0, 655, 52, blocks=(46, 47)),
        TraceRow(2.5, 672, 26, blocks=(46, 48)),
    ]


def test_times_of_all_turns_count_from_the_first_row(tmp_path: Path) -> None:
    moved = SESSIONS.replace('"timestamp": ', '"timestamp": 9')  # 90, 9100 and 9700 ms
    assert [row.seconds for row in read(tmp_path, moved, "aiperf")] == pytest.approx([0, 9.01, 0.5, 9.61])


def test_guidellm_has_seconds(tmp_path: Path) -> None:
    rows = read(tmp_path, MOONCAKE, "guidellm")
    assert [row.seconds for row in rows] == [0.0, 2500.0]


def test_a_later_turn_waits_as_told_or_as_long_as_its_time_is_later(tmp_path: Path) -> None:
    rows = read(tmp_path, SESSIONS, "aiperf")
    assert [row.session for row in rows] == ["a", "b", "a", "b"]
    assert [row.delay for row in rows] == [None, None, 0.5, pytest.approx(0.6)]


@pytest.mark.parametrize(("text", "form", "words"), [
    (MOONCAKE.replace("3500", "900"), "mooncake", "line 2: time: expected at least 0 s .*, found -0.1 s"),
    (MOONCAKE.replace("1000", "-5"), "mooncake", "line 1: timestamp: expected a number of at least 0, found -5"),
    (MOONCAKE.replace("3500", "NaN"), "mooncake", "line 2: timestamp"),
    (MOONCAKE.replace("3500", "true"), "mooncake", "line 2: timestamp"),
    (MOONCAKE.replace("672", "6.5"), "mooncake", "line 2: input: expected a whole number of tokens, found 6.5"),
    (MOONCAKE.replace('"output_length": 26', '"out": 26'), "mooncake", "line 2: output: .* found None"),
    (MOONCAKE.replace("[46, 48]", '"46"'), "mooncake", "line 2: hash_ids"),
    (MOONCAKE + "{", "mooncake", "line 3: line: expected a JSON object"),
    (MOONCAKE + "[]", "mooncake", "line 3: line: expected a JSON object, found list"),
    (MOONCAKE.replace("672", '"\u00b2"'), "mooncake", "line 2: input: expected a whole number of tokens"),
    (SESSIONS.replace("700", "50"), "aiperf", "line 4: timestamp: expected at least 0.1 s, .*, found 0.05 s"),
    (SESSIONS.replace("500}", "-500}"), "aiperf", "line 3: delay: expected a number of at least 0"),
    (AZURE.replace("18:15:50", "18:15:40"), "azure", "line 3: time: expected at least 0 s"),
    (AZURE.replace("2023-11-16 18:15:50.9951690", "yesterday"), "azure", "line 3: TIMESTAMP: expected a date"),
    (AZURE.replace("ContextTokens", "Tokens"), "azure", "line 1: header: .* found no ContextTokens"),
    (AZURE.replace("396", "-1"), "azure", "line 3: ContextTokens: expected a whole number"),
    ("", "mooncake", "expected at least one request, found none"),
    (MOONCAKE, "csv", "trace format 'csv': expected one of azure, mooncake, aiperf, guidellm"),
])  # fmt: skip
def test_what_is_wrong_in_a_trace_is_told_with_its_line(text: str, form: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read(tmp_path, text, form)


def test_an_absent_trace_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.jsonl': expected a file"):
        read_trace(tmp_path / "none.jsonl", "mooncake")


def test_a_trace_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="expected UTF-8"):
        read_trace(file, "mooncake")
