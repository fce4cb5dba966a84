"""What errors tell, whoever gave the names in them."""

import time

import pytest

from bellhousing.errors import EngineFault, NotFound, near_names
from bellhousing.status import rpc_status


def test_the_nearest_names_are_told_best_first() -> None:
    assert near_names("poets", ["poet", "judge", "poem"])[:2] == ("poet", "poem")
    assert near_names("zzz", ["poet", "judge", "poem"]) == ("judge", "poem", "poet")
    many = [f"adapter-{number:03}" for number in range(200)]
    assert near_names("adaptor-117", many)[0] == "adapter-117"


@pytest.mark.parametrize("name", ["ab" * 60 + "zzz", "ab" * 500_000])
def test_looking_for_near_names_holds_up_nobody(name: str) -> None:
    known = [f"{'ab' * 60}{number:03}" for number in range(200)]
    took = []
    for _ in range(3):
        began = time.perf_counter()
        near_names(name, known)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.05


def test_an_error_with_what_is_no_character_can_be_sent() -> None:
    assert rpc_status(EngineFault("found '\ud800'")).message == "found '\\ud800'"
    assert "\\ud800" in rpc_status(NotFound("adapter", "\ud800")).message
