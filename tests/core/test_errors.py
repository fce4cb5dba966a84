"""What errors tell, whoever gave the names in them."""

import time
from typing import Any

import pytest

from bellhousing.errors import EngineFault, InvalidRequest, NotFound, near_names
from bellhousing.status import rpc_status
from tests.core.conftest import Serve


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


@pytest.mark.parametrize("letter", ["q", "%", "名"])
async def test_a_long_name_is_not_found_as_a_short_one_is(serving: Serve, letter: str) -> None:
    async with serving() as served:
        given: tuple[dict[str, Any], ...] = ({"adapter": letter * 200_000}, {"model": letter * 200_000})
        for asked in given:
            with pytest.raises(NotFound) as refused:
                await served.client.complete("abc", **asked)
            assert refused.value.reason == f"{next(iter(asked)).upper()}_NOT_FOUND"
            assert refused.value.name == letter * 128 + " ..."


async def test_a_long_fault_is_told_cut(serving: Serve) -> None:
    async with serving() as served:
        with pytest.raises(InvalidRequest) as refused:
            await served.client.register_adapter("poet", "file:///poet", tags=["名" * 100_000])
        assert "must be 64 characters or fewer" in refused.value.message
        assert len(refused.value.message) < 1_600
