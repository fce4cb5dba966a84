"""Every kind of fault, as a reader of the stream sees it."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from bellhousing.errors import BellhousingError, EngineFault, EngineUnavailable
from bellhousing.events import Delta, Event, Finished, Started
from bellhousing.requests import Chat, ChatMessage, GenerationRequest, Sampling
from bellhousing_simulator import Fault, FaultKind, SimulatorBackend, SimulatorOptions
from bellhousing_simulator.vocabulary import tokenise
from tests.backends.simulator.conftest import Simulate, generate, request

EIGHT = Sampling(seed=1, max_tokens=8)
AFTER = 3
README = Path(__file__).parents[3] / "backends" / "simulator" / "README.md"


async def read(backend: SimulatorBackend, wanted: GenerationRequest) -> tuple[list[Event], Exception | None]:
    """Return the events of a request and how it failed, if it did."""
    events: list[Event] = []
    try:
        async for event in backend.generate(wanted):
            events.append(event)
    except (BellhousingError, RuntimeError) as error:
        return events, error
    return events, None


async def afflicted(simulate: Simulate, kind: FaultKind, after: int = AFTER, match: str = "") -> SimulatorBackend:
    fault = Fault(kind=kind, after_tokens=after, match=match)
    return await simulate(end_probability=0.0, faults=(fault,))


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [("error", EngineFault), ("unavailable", EngineUnavailable), ("unexpected_exception", RuntimeError)],
)
async def test_a_stream_fails_after_so_many_tokens(
    simulate: Simulate, kind: FaultKind, expected: type[Exception], after: int
) -> None:
    backend = await afflicted(simulate, kind, after)
    events, error = await read(backend, request("a", EIGHT))
    assert isinstance(error, expected)
    assert [type(event) for event in events] == [Started] + [Delta] * after
    assert backend.counters.active_sequences == 0


async def test_a_stream_ends_without_finished(simulate: Simulate) -> None:
    backend = await afflicted(simulate, "end_without_finished")
    events, error = await read(backend, request("a", EIGHT))
    assert error is None
    assert [type(event) for event in events] == [Started] + [Delta] * AFTER
    assert backend.counters.active_sequences == 0


async def test_a_stream_goes_on_after_finished(simulate: Simulate) -> None:
    events, _ = await read(await afflicted(simulate, "extra_after_finished"), request("a", EIGHT))
    assert [type(event) for event in events[-2:]] == [Finished, Delta]


async def test_a_stream_starts_twice(simulate: Simulate) -> None:
    events, _ = await read(await afflicted(simulate, "two_started"), request("a", EIGHT))
    assert [place for place, event in enumerate(events) if isinstance(event, Started)] == [0, AFTER + 1]


async def test_bytes_begin_a_character_that_nothing_completes(simulate: Simulate) -> None:
    output = await generate(await afflicted(simulate, "invalid_utf8"), request("a", EIGHT))
    assert output.deltas[AFTER].text == b"\xf0\x9f"
    assert len(output.deltas) == 8
    with pytest.raises(UnicodeDecodeError):
        output.raw().decode()


async def test_a_delta_counts_more_tokens_than_it_has(simulate: Simulate) -> None:
    output = await generate(await afflicted(simulate, "wrong_count"), request("a", EIGHT))
    counts = [(delta.token_count, len(delta.token_ids)) for delta in output.deltas]
    assert counts == [(2, 1) if place == AFTER else (1, 1) for place in range(8)]


async def test_a_stream_hangs_until_it_is_closed(simulate: Simulate) -> None:
    backend = await afflicted(simulate, "hang")
    seen: list[Event] = []

    async def reader() -> None:
        async for event in backend.generate(request("a", EIGHT)):
            seen.append(event)

    task = asyncio.create_task(reader())
    while len(seen) <= AFTER:
        await asyncio.sleep(0)
    done, _ = await asyncio.wait([task], timeout=0.02)
    assert not done
    assert backend.counters.active_sequences == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert backend.counters.active_sequences == 0


async def test_a_death_ends_every_stream_and_is_told(simulate: Simulate) -> None:
    fault = Fault(kind="die", after_tokens=AFTER, match="bad")
    slow = await simulate(end_probability=0.0, inter_token_seconds=0.001, faults=(fault,))
    watcher = asyncio.create_task(slow.died())
    wanted = [request(prompt, Sampling(seed=1, max_tokens=4000)) for prompt in ("good", "fine", "bad")]
    outcomes = await asyncio.gather(*(read(slow, one) for one in wanted))
    assert all(isinstance(error, EngineUnavailable) for _, error in outcomes)
    assert "died after 3 tokens" in await watcher
    _, later = await read(slow, request("good"))
    assert isinstance(later, EngineUnavailable)
    assert slow.counters.active_sequences == 0


async def test_a_dead_engine_can_be_started_again(simulate: Simulate) -> None:
    backend = await afflicted(simulate, "die", match="bad")
    await read(backend, request("bad"))
    await backend.start(lambda _: None)
    assert len((await generate(backend, request("good", EIGHT))).deltas) == 8


async def test_a_fault_strikes_only_requests_whose_prompt_matches(simulate: Simulate) -> None:
    backend = await afflicted(simulate, "error", match="bad é")
    prompts = ("a bad é!", tokenise("a bad é!"), Chat((ChatMessage("user", "a bad é!"),)))
    for prompt in prompts:
        _, error = await read(backend, request(prompt, EIGHT))
        assert isinstance(error, EngineFault)
    assert len((await generate(backend, request("a good one", EIGHT))).deltas) == 8


async def test_the_first_fault_that_matches_counts(simulate: Simulate) -> None:
    faults = (Fault(kind="error", match="x"), Fault(kind="unavailable"))
    backend = await simulate(faults=faults)
    assert isinstance((await read(backend, request("x")))[1], EngineFault)
    assert isinstance((await read(backend, request("y")))[1], EngineUnavailable)


async def test_a_fault_beyond_the_output_does_not_happen(simulate: Simulate) -> None:
    backend = await afflicted(simulate, "error", after=9)
    assert len((await generate(backend, request("a", EIGHT))).deltas) == 8


def test_a_crash_kills_the_process() -> None:
    program = """if True:
        import asyncio
        from bellhousing.requests import GenerationRequest
        from bellhousing.settings import ModelSpec
        from bellhousing_simulator import IsolatedSimulatorBackend, SimulatorOptions

        async def main():
            options = SimulatorOptions(faults=[{"kind": "crash"}])
            backend = IsolatedSimulatorBackend(ModelSpec(name="m"), options)
            await backend.start(lambda _: None)
            async for _ in backend.generate(GenerationRequest("id", "a")):
                pass

        asyncio.run(main())
    """
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValidationError):
        SimulatorOptions.model_validate({"faults": [{"kind": "sulk"}]})


def test_every_kind_has_a_line_in_the_readme() -> None:
    text = README.read_text()
    assert [kind for kind in get_args(FaultKind) if f"| `{kind}` |" not in text] == []


def test_every_option_has_a_line_in_the_readme() -> None:
    text = README.read_text()
    assert [name for name in SimulatorOptions.model_fields if f"| `{name}` |" not in text] == []
