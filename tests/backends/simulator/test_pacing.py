"""Latency, on a clock that skips every wait, so that the schedule is seen exactly."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from bellhousing.errors import EngineUnavailable
from bellhousing.events import Delta, Finished, Started
from bellhousing.requests import Sampling
from bellhousing.settings import ModelSpec
from bellhousing_simulator import SimulatorBackend, SimulatorOptions
from bellhousing_simulator.pacing import TOKENS_BETWEEN_PAUSES, Life
from tests.backends.simulator.conftest import request

T = TypeVar("T")


class SkippingSelector(selectors.DefaultSelector):
    """A selector that does not wait but adds what it would have waited to `skipped`, in seconds."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.skipped += timeout or 0.0
        return super().select(timeout if timeout is None else 0)


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop whose time is what it has skipped."""

    def __init__(self) -> None:
        self.skipping = SkippingSelector()
        super().__init__(self.skipping)

    def time(self) -> float:
        return self.skipping.skipped


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run on a skipping loop."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(main())


def stamps(sampling: Sampling, prompt: str = "abc", busy: float = 0.0, **options: Any) -> list[tuple[type, float]]:
    """Return the kind and time of each event of a request, for a reader that is busy for a while after each."""

    async def main() -> list[tuple[type, float]]:
        backend = SimulatorBackend(ModelSpec(name="m"), SimulatorOptions(end_probability=0.0, **options))
        await backend.start(lambda _: None)
        begin = asyncio.get_running_loop().time()
        found = []
        async for event in backend.generate(request(prompt, sampling)):
            found.append((type(event), asyncio.get_running_loop().time() - begin))
            await asyncio.sleep(busy)
        return found

    return run(main)


def delta_times(sampling: Sampling, **options: Any) -> list[float]:
    return [at for kind, at in stamps(sampling, **options) if kind is Delta]


def test_the_first_token_comes_after_prefill_and_the_others_one_by_one() -> None:
    found = stamps(
        Sampling(seed=1, max_tokens=3),
        prefill_seconds_per_token=0.5,
        first_token_seconds=1.0,
        inter_token_seconds=0.25,
    )
    assert [kind for kind, _ in found] == [Started, Delta, Delta, Delta, Finished]
    assert [at for _, at in found] == pytest.approx([0.0, 2.5, 2.75, 3.0, 3.0])


def test_sequences_of_one_request_advance_together() -> None:
    found = delta_times(Sampling(seed=1, max_tokens=2, n=3), inter_token_seconds=1.0)
    assert found == pytest.approx([0, 0, 0, 1, 1, 1])


def test_a_busy_reader_does_not_shift_the_schedule() -> None:
    found = delta_times(Sampling(seed=1, max_tokens=50), inter_token_seconds=1.0, busy=0.9)
    assert found == pytest.approx([max(place, 0.9 * (place + 1)) for place in range(50)])
    assert found[9:] == pytest.approx(range(9, 50))


def test_a_reader_that_is_slower_than_the_schedule_never_waits() -> None:
    found = delta_times(Sampling(seed=1, max_tokens=4), inter_token_seconds=1.0, busy=2.0)
    assert found == pytest.approx([2.0, 4.0, 6.0, 8.0])


def test_jitter_keeps_the_mean_and_depends_on_the_seed_only() -> None:
    found = delta_times(Sampling(seed=3, max_tokens=2001), inter_token_seconds=1.0, jitter=0.5)
    again = delta_times(Sampling(seed=3, max_tokens=2001), inter_token_seconds=1.0, jitter=0.5)
    other = delta_times(Sampling(seed=4, max_tokens=2001), inter_token_seconds=1.0, jitter=0.5)
    gaps = [after - before for before, after in pairwise(found)]
    assert found == again != other
    assert sum(gaps) / len(gaps) == pytest.approx(1.0, abs=0.05)
    assert len({round(gap, 6) for gap in gaps}) > 1900
    assert min(gaps) > 0


def test_the_engine_s_own_prefill_time_is_reported() -> None:
    async def main() -> Finished:
        backend = SimulatorBackend(ModelSpec(name="m"), SimulatorOptions(prefill_seconds_per_token=0.5))
        await backend.start(lambda _: None)
        events = [event async for event in backend.generate(request("abcd", Sampling(seed=1, max_tokens=1)))]
        assert isinstance(events[-1], Finished)
        return events[-1]

    assert run(main).engine_prefill_seconds == pytest.approx(2.0)


def test_loading_takes_its_time_and_tells_its_progress() -> None:
    async def main() -> tuple[float, list[tuple[int, int]]]:
        seen: list[tuple[int, int]] = []
        backend = SimulatorBackend(ModelSpec(name="m"), SimulatorOptions(load_seconds=5.0))
        await backend.start(lambda progress: seen.append((progress.done, progress.total)))
        return asyncio.get_running_loop().time(), seen

    elapsed, seen = run(main)
    assert elapsed == pytest.approx(5.0)
    assert seen == [(step, 10) for step in range(10)]


def test_without_latency_other_tasks_run_now_and_then() -> None:
    async def main() -> tuple[int, int]:
        backend = SimulatorBackend(ModelSpec(name="m"), SimulatorOptions(end_probability=0.0))
        await backend.start(lambda _: None)
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        wanted = request("a", Sampling(seed=1, max_tokens=TOKENS_BETWEEN_PAUSES * 10))
        tokens = len([event async for event in backend.generate(wanted) if isinstance(event, Delta)])
        task.cancel()
        return tokens, turns

    tokens, turns = run(main)
    assert tokens == 320
    assert 9 <= turns <= 12


async def test_a_wait_ends_with_the_engine() -> None:
    life = Life()
    waits = [asyncio.create_task(life.sleep(seconds)) for seconds in (None, 60.0)]
    await asyncio.sleep(0)
    life.end("was stopped")
    for wait in waits:
        with pytest.raises(EngineUnavailable, match="was stopped"):
            await wait
    with pytest.raises(EngineUnavailable):
        await life.sleep(0)
    assert not life._waiting


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    life = Life()
    wait = asyncio.create_task(life.sleep(60.0))
    await asyncio.sleep(0)
    wait.cancel()
    await asyncio.gather(wait, return_exceptions=True)
    assert not life._waiting
