"""What is tried again, when, and what never is."""

import time
from itertools import pairwise

import pytest

from bellhousing import RetryPolicy
from bellhousing.errors import EngineFault, EngineUnavailable, InvalidRequest, Overloaded, Violation
from tests.core.client.callers import ALL, QUICK, STREAMING, Caller
from tests.core.client.scripted import FINISHED, STARTED, Answer, delta, scripted

BUSY = Overloaded("busy", retry_after=0.15)
every_way = pytest.mark.parametrize("call", ALL)
every_stream = pytest.mark.parametrize("call", STREAMING)


@every_way
async def test_a_refused_request_is_sent_again_after_the_time_the_server_named(call: Caller) -> None:
    async with scripted(Answer((), BUSY), Answer((), BUSY), Answer()) as server:
        assert await call(server.address) == "hello"
    assert len(server.calls) == 3
    assert all(later - earlier >= 0.15 for earlier, later in pairwise(server.calls))


@every_way
async def test_attempts_are_counted_and_the_last_error_raised_with_its_details(call: Caller) -> None:
    async with scripted(
        *[Answer((), EngineUnavailable("down", backend="b", engine_code="x", retry_after=0.01))] * 3
    ) as server:
        with pytest.raises(EngineUnavailable, match="down") as caught:
            await call(server.address)
    assert len(server.calls) == 3
    assert (caught.value.backend, caught.value.engine_code, caught.value.retry_after) == ("b", "x", 0.01)


@every_way
@pytest.mark.parametrize("error", [EngineFault("broken"), InvalidRequest([Violation("chat", "is wrong")])])
async def test_what_would_fail_again_is_not_sent_again(call: Caller, error: EngineFault | InvalidRequest) -> None:
    async with scripted(Answer((), error), Answer()) as server:
        with pytest.raises(type(error)):
            await call(server.address)
    assert len(server.calls) == 1


@every_stream
async def test_output_that_was_delivered_is_never_generated_again(call: Caller) -> None:
    broken = Answer((STARTED, delta("hel")), EngineUnavailable("the engine died"))
    async with scripted(broken, Answer()) as server:
        with pytest.raises(EngineUnavailable) as caught:
            await call(server.address)
    assert len(server.calls) == 1
    assert caught.value.metadata["partial_output"] == "true"


@every_stream
async def test_a_stream_that_broke_before_any_output_is_sent_again(call: Caller) -> None:
    broken = Answer((STARTED,), EngineUnavailable("the engine died", retry_after=0.01))
    async with scripted(broken, Answer((STARTED, delta("all"), delta(" of it"), FINISHED))) as server:
        assert await call(server.address) == "all of it"


@every_way
async def test_no_attempt_is_waited_for_beyond_the_deadline(call: Caller) -> None:
    began = time.monotonic()
    async with scripted(Answer((), Overloaded("busy", retry_after=30.0)), Answer()) as server:
        with pytest.raises(Overloaded):
            await call(server.address, timeout=20.0)
    assert len(server.calls) == 1
    assert time.monotonic() - began < 10


@every_way
async def test_a_policy_of_one_attempt_tries_once(call: Caller) -> None:
    async with scripted(Answer((), BUSY), Answer()) as server:
        with pytest.raises(Overloaded):
            await call(server.address, retry=RetryPolicy(attempts=1))
    assert len(server.calls) == 1


def test_waits_double_up_to_the_longest_and_vary() -> None:
    policy = RetryPolicy(attempts=10, first=1.0, most=4.0)
    error = EngineUnavailable("down")
    waits = [[policy.wait(error, attempt, None) or 0.0 for _ in range(200)] for attempt in (1, 2, 3, 6)]
    for (low, high), drawn in zip([(0.5, 1), (1, 2), (2, 4), (2, 4)], waits, strict=True):
        assert low <= min(drawn) < max(drawn) <= high
        assert max(drawn) - min(drawn) > (high - low) / 2


def test_a_wait_that_ends_after_the_deadline_is_no_wait() -> None:
    assert QUICK.wait(Overloaded("busy", retry_after=5.0), 1, time.monotonic() + 1) is None
