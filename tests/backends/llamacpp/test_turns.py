import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bellhousing_llamacpp.turns import Turns


class Crowd:
    """Requests in a `Turns`: who is in, in which order they came in, and when they leave."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.entered: list[str] = []
        self.inside: set[str] = set()
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        """Come in this order; the letters of a name are its adapter."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._stay(name))
            await settled()

    async def leave(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await self._tasks[name]
        await settled()

    async def give_up(self, name: str) -> None:
        self._tasks[name].cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._tasks[name]
        await settled()

    async def _stay(self, name: str) -> None:
        async with self.turns.turn(name.rstrip("0123456789")):
            self.entered.append(name)
            self.inside.add(name)
            try:
                await self._ends[name].wait()
            finally:
                self.inside.remove(name)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


Step = Callable[[Crowd], Awaitable[None]]


async def test_requests_of_one_adapter_run_together_up_to_the_places() -> None:
    crowd = Crowd(Turns(2, 10))
    await crowd.come("a1", "a2", "a3")
    assert (crowd.inside, crowd.turns.waiting) == ({"a1", "a2"}, 1)
    await crowd.leave("a1")
    assert crowd.inside == {"a2", "a3"}


async def test_requests_of_two_adapters_never_run_together() -> None:
    crowd = Crowd(Turns(4, 10))
    await crowd.come("a1", "b1", "b2")
    assert crowd.inside == {"a1"}
    await crowd.leave("a1")
    assert crowd.inside == {"b1", "b2"}


async def test_later_requests_join_a_turn_while_others_have_patience() -> None:
    crowd = Crowd(Turns(4, 10))
    await crowd.come("a1", "b1", "a2")
    assert crowd.inside == {"a1", "a2"}


async def test_a_stream_of_requests_for_one_adapter_starves_no_other() -> None:
    crowd = Crowd(Turns(4, 0))
    await crowd.come("a1", "b1", "a2", "a3")
    assert crowd.inside == {"a1"}
    await crowd.leave("a1")
    assert crowd.inside == {"b1"}
    await crowd.come("b2")
    assert crowd.inside == {"b1"}
    await crowd.leave("b1")
    assert crowd.inside == {"a2", "a3"}


async def test_a_turn_is_for_all_who_waited_for_it_whoever_is_impatient() -> None:
    crowd = Crowd(Turns(4, 0))
    await crowd.come("x1", "a1", "b1", "a2", "b2")
    await crowd.leave("x1")
    assert crowd.inside == {"a1", "a2"}
    await crowd.leave("a1", "a2")
    assert crowd.inside == {"b1", "b2"}


async def test_who_gives_up_waiting_lets_the_others_go_on() -> None:
    crowd = Crowd(Turns(4, 0))
    await crowd.come("a1", "b1", "a2")
    await crowd.give_up("b1")
    assert crowd.inside == {"a1", "a2"}
    await crowd.leave("a1", "a2")
    assert crowd.turns.waiting == 0


async def test_who_is_cancelled_as_he_is_let_in_leaves_no_place_taken() -> None:
    turns = Turns(1, 0)
    crowd = Crowd(turns)
    await crowd.come("a1", "b1")
    crowd._ends["a1"].set()
    while turns.waiting:
        await asyncio.sleep(0)
    await crowd.give_up("b1")
    await crowd.come("c1")
    assert crowd.inside == {"c1"}
