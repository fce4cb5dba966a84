"""The gate: bounds, order, fairness, deadlines."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from bellhousing.admission import Admission, Limits, Ticket
from bellhousing.errors import DeadlineExceeded, EngineUnavailable, Overloaded
from bellhousing.requests import Priority


async def occupy(
    gate: Admission, ticket: Ticket, order: list[str], name: str, hold: asyncio.Event | None = None
) -> None:
    async with gate.slot(ticket):
        order.append(name)
        if hold:
            await hold.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def queue_up(gate: Admission, tickets: list[tuple[str, Ticket]]) -> list[str]:
    """Let one request hold the only place while others queue; return the order in which they start."""
    order: list[str] = []
    hold = asyncio.Event()
    tasks = [asyncio.create_task(occupy(gate, Ticket(1), order, "first", hold))]
    await settle()
    for name, ticket in tickets:
        tasks.append(asyncio.create_task(occupy(gate, ticket, order, name)))
        await settle()
    hold.set()
    await asyncio.gather(*tasks)
    return order[1:]


async def test_requests_of_one_tenant_start_in_order_of_arrival() -> None:
    gate = Admission(Limits(max_running=1, max_queued=10))
    assert await queue_up(gate, [(str(n), Ticket(1)) for n in range(5)]) == ["0", "1", "2", "3", "4"]


async def test_a_higher_class_starts_before_a_lower_one() -> None:
    gate = Admission(Limits(max_running=1, max_queued=10))
    classes: list[Priority] = ["low", "normal", "high"]
    assert await queue_up(gate, [(c, Ticket(1, priority=c)) for c in classes]) == ["high", "normal", "low"]


async def test_a_tenant_with_many_requests_does_not_starve_one_with_few() -> None:
    gate = Admission(Limits(max_running=1, max_queued=20))
    tickets = [("busy", Ticket(10, "busy")) for _ in range(6)] + [("calm", Ticket(10, "calm")) for _ in range(2)]
    order = await queue_up(gate, tickets)
    assert order.index("calm") <= 1
    assert order[:4].count("calm") == 2


async def test_a_full_queue_refuses_with_the_time_to_come_back() -> None:
    gate = Admission(Limits(max_running=1, max_queued=1))
    async with gate.slot(Ticket(1)):
        waiting = asyncio.create_task(occupy(gate, Ticket(1), [], "waits"))
        await settle()
        with pytest.raises(Overloaded) as refused:
            await occupy(gate, Ticket(1), [], "refused")
        assert refused.value.retry_after is not None
        assert refused.value.retry_after > 0
    await waiting
    assert (gate.running, gate.queued, gate.queued_tokens, gate.running_tokens) == (0, 0, 0, 0)


async def test_tokens_are_bounded_in_the_queue_and_in_the_engine() -> None:
    gate = Admission(Limits(max_running=8, max_queued=8, max_running_tokens=100, max_queued_tokens=100))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(gate.slot(Ticket(80)))
        waiting = asyncio.create_task(occupy(gate, Ticket(80), [], "waits"))
        await settle()
        assert (gate.running, gate.queued) == (1, 1)
        with pytest.raises(Overloaded, match="160 tokens would wait, at most 100 may"):
            await occupy(gate, Ticket(80), [], "refused")
    await waiting


async def test_a_request_larger_than_the_token_bound_runs_alone() -> None:
    gate = Admission(Limits(max_running=8, max_queued=8, max_running_tokens=100))
    order: list[str] = []
    await occupy(gate, Ticket(500), order, "large")
    assert order == ["large"]


async def test_a_deadline_passes_in_the_queue() -> None:
    gate = Admission(Limits(max_running=1, max_queued=4))
    async with gate.slot(Ticket(1)):
        with pytest.raises(DeadlineExceeded):
            await occupy(gate, Ticket(1, deadline=asyncio.get_running_loop().time() + 0.02), [], "late")
        assert gate.queued == 0


async def test_what_cannot_start_in_time_is_refused_at_once() -> None:
    gate = Admission(Limits(max_running=1, max_queued=100))
    for _ in range(8):
        gate.drain_rate.finished(10.0)
    async with gate.slot(Ticket(1)):
        with pytest.raises(Overloaded) as refused:
            await occupy(gate, Ticket(1, deadline=asyncio.get_running_loop().time() + 1), [], "hopeless")
    assert refused.value.reason == "DEADLINE_UNREACHABLE"


class Absent:
    """An adapter that is not there yet."""

    digest = ""
    is_ready = False

    def hold(self) -> None: ...

    def check(self) -> None: ...

    def release(self) -> None: ...


async def test_a_queue_that_waits_for_adapters_refuses_nobody_for_a_deadline() -> None:
    gate = Admission(Limits(max_running=16, max_queued=100))
    for _ in range(8):
        gate.drain_rate.finished(10.0)
    async with gate.slot(Ticket(1)):
        waiting = [asyncio.create_task(occupy(gate, Ticket(1, adapter=Absent()), [], "waits")) for _ in range(30)]
        await settle()
        assert gate.queued == 30
        deadline = asyncio.get_running_loop().time() + 60  # one at a time would take 300 s, sixteen take 20
        last = asyncio.create_task(occupy(gate, Ticket(1, deadline=deadline, adapter=Absent()), [], "last"))
        await settle()
        assert gate.queued == 31
        for task in (*waiting, last):
            task.cancel()
        ended = await asyncio.gather(*waiting, last, return_exceptions=True)
    assert all(isinstance(error, asyncio.CancelledError) for error in ended)


async def test_a_cancelled_request_leaves_the_queue() -> None:
    gate = Admission(Limits(max_running=1, max_queued=4))
    async with gate.slot(Ticket(1)):
        waiting = asyncio.create_task(occupy(gate, Ticket(1), [], "leaves"))
        await settle()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert gate.queued == 0
    assert gate.running == 0


async def test_a_request_cancelled_in_the_instant_it_is_admitted_gives_its_place_back() -> None:
    gate = Admission(Limits(max_running=1, max_queued=4))
    order: list[str] = []
    async with gate.slot(Ticket(1)):
        waiting = asyncio.create_task(occupy(gate, Ticket(1), order, "leaves"))
        after = asyncio.create_task(occupy(gate, Ticket(1), order, "after"))
        await settle()
    waiting.cancel()
    await asyncio.gather(waiting, after, return_exceptions=True)
    assert order == ["after"]
    assert (gate.running, gate.queued) == (0, 0)


async def test_a_closed_gate_ends_those_that_wait_and_refuses_new_ones() -> None:
    gate = Admission(Limits(max_running=1, max_queued=4))
    async with gate.slot(Ticket(1)):
        waiting = asyncio.create_task(occupy(gate, Ticket(1), [], "waits"))
        await settle()
        gate.close(lambda: EngineUnavailable("gone"))
        with pytest.raises(EngineUnavailable):
            await waiting
    with pytest.raises(EngineUnavailable):
        await occupy(gate, Ticket(1), [], "new")
    gate.open(Limits(max_running=1, max_queued=4))
    order: list[str] = []
    await occupy(gate, Ticket(1), order, "again")
    assert order == ["again"]


async def test_the_time_to_come_back_follows_the_drain_rate() -> None:
    slow, fast = (Admission(Limits(max_running=2, max_queued=0)) for _ in range(2))
    slow.drain_rate.finished(4.0)
    fast.drain_rate.finished(0.5)
    assert slow.retry_after() == pytest.approx(2.0)
    assert fast.retry_after() == pytest.approx(0.25)
