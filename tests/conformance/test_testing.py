"""A third party's suite of two lines."""

import asyncio
from pathlib import Path

import pytest

from bellhousing.testing import serving
from bellhousing_conformance.testing import conformance


def test_a_check_that_passes_is_a_test_that_passes(tmp_path: Path) -> None:
    async def judged() -> None:
        async with serving("simulator") as served:
            await asyncio.to_thread(conformance(served.address), "C03", tmp_path)

    asyncio.run(judged())


def test_a_target_that_is_down_fails_the_test(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="no server can be reached"):
        conformance("127.0.0.1:1")("C03", tmp_path)
