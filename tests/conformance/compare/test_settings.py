"""What a comparison is asked, and what it is not gone on with."""

from pathlib import Path

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.compare.settings import (
    read_settings,
    require_new,
    require_same,
    settings_of,
    write_settings,
)
from tests.conformance.compare.folders import SIDES, settings


@pytest.mark.parametrize(("side", "words"), [
    ({}, "expected one of address, config and start, found none"),
    ({"address": "h:1", "start": "simulator"}, "found address, start"),
    ({"address": "h:1", "client": "http"}, "client: expected one of contract"),
    ({"start": "simulator", "client": "openai"}, "a server that is started speaks the contract"),
    ({"address": "h:1", "adress": "h:2"}, "adress"),
])  # fmt: skip
def test_a_side_is_reached_in_exactly_one_way(side: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        settings_of({**SIDES, "a": side, "seed": 1})


@pytest.mark.parametrize(
    "told",
    [
        {"pairs": 0},
        {"share": 1.0},
        {"rate": -1.0},
        {"rate": 20000.0},
        {"rate": float("inf")},
        {"deadline": float("inf")},
        {"block_seconds": 0.5},
        {"pears": 3},
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(told: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(told))):
        settings(**told)


def test_a_rate_that_leaves_no_median_is_refused_with_a_block_that_would_do() -> None:
    asked = settings(block_seconds=15)
    asked.check_rate(2.0)
    with pytest.raises(
        ConfigurationError, match=r"expected at least 11 requests .* found 9\.0 at 1 requests/s"
    ) as error:
        asked.check_rate(1.0)
    assert error.value.hint == "`--block 18`, or shorter outputs"


def test_a_folder_keeps_its_settings_and_is_not_begun_twice(tmp_path: Path) -> None:
    require_new(tmp_path)
    write_settings(settings(), tmp_path)
    assert read_settings(tmp_path) == settings()
    with pytest.raises(ConfigurationError, match="expected none of an earlier comparison") as error:
        require_new(tmp_path)
    assert "--resume" in error.value.hint


def test_a_comparison_is_gone_on_with_by_the_same_settings_or_none(tmp_path: Path) -> None:
    require_same(settings(), {}, tmp_path)
    require_same(settings(), {"pairs": 8, "block_seconds": 12}, tmp_path)
    with pytest.raises(ConfigurationError, match=r"pairs: expected 8, found 9; rate: expected 5\.0, found 6\.0"):
        require_same(settings(), {"pairs": 9, "rate": 6}, tmp_path)
    with pytest.raises(ConfigurationError, match=r'b: expected \{"address": "127\.0\.0\.1:2"\}, found'):
        require_same(settings(), {"b": {"start": "simulator"}}, tmp_path)


def test_a_folder_without_a_comparison_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"settings\.json.*expected a file"):
        read_settings(tmp_path)
