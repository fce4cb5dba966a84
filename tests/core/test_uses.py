"""What is in use is ended once nobody uses it."""

import asyncio

import pytest

from bellhousing.uses import Uses


async def test_what_nobody_uses_has_ended() -> None:
    await asyncio.wait_for(Uses().ended(), 1)


async def test_the_last_use_ends_the_wait_however_it_ends() -> None:
    uses = Uses()
    with uses.held():
        with pytest.raises(ValueError, match="over"), uses.held():
            raise ValueError("over")
        waiting = asyncio.ensure_future(uses.ended())
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 1)


async def test_a_use_that_begins_before_the_waiter_is_woken_is_waited_for_too() -> None:
    uses = Uses()
    with uses.held():
        waiting = asyncio.ensure_future(uses.ended())
        await asyncio.sleep(0)
    with uses.held():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 1)
