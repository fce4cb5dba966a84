"""The sender against real servers on loopback ports."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from bellhousing.errors import ConfigurationError, EngineUnavailable
from bellhousing.launch import ServerProcess
from bellhousing.testing.serving import serving
from bellhousing_conformance.load.clients.client import Endpoint
from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.load.gates import ledger, reachable, schedule, tokens
from bellhousing_conformance.load.job import Job, closed_job, open_job, read_job, write_job
from bellhousing_conformance.load.null import floor_of, null_server
from bellhousing_conformance.load.process import run_load
from bellhousing_conformance.load.record import NOT_SENT, ROWS_FILE, Arrivals
from bellhousing_conformance.load.schedule import Stage, drawn
from bellhousing_conformance.load.sender import Progress, Sender
from bellhousing_conformance.load.workload import Lengths, Workload, plan_of, plan_of_closed

SHORT = {"prompt_tokens": Lengths(low=4, high=8), "output_tokens": Lengths(low=5, high=5)}


def earlier(folder: Path) -> None:
    """Leave what an earlier run left."""
    (folder / ROWS_FILE).write_text("of an earlier run")


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with serving("simulator") as served:
        yield served.address


def job(address: str, *, rate: float = 40, seconds: float = 1, **settings: object) -> Job:
    made = drawn(Arrivals("poisson", rate), [Stage("measured", rate, seconds)], 1)
    workload = Workload.model_validate({**SHORT, **settings})
    return open_job(Endpoint("contract", address), made, plan_of(made, workload, 1), 1)


async def test_a_sender_in_its_own_process_records_every_request_as_planned(address: str, tmp_path: Path) -> None:
    told: list[Progress] = []
    rows, info = await run_load(job(address, seconds=2), tmp_path, told.append)
    run = Run(rows, info)
    assert [gate.found for gate in (ledger(run), schedule(run), tokens(run)) if not gate.is_kept] == []
    assert {row.code for row in rows} == {"OK"}
    assert {row.tokens for row in rows} == {5}
    assert all(row.prompt_tokens for row in rows)
    assert all(row.queue_ns is not None for row in rows)
    assert told
    assert told[-1].failed == 0


async def test_nothing_is_sent_before_its_time_nor_received_before_it_was_sent(address: str) -> None:
    rows, _ = await Sender(job(address)).run()
    assert all(row.intended_ns <= row.sent_ns <= (row.first_ns or 0) <= row.end_ns for row in rows)


async def test_a_request_does_not_wait_for_the_one_before() -> None:
    async with serving("simulator", options={"first_token_seconds": 1.5}) as served:
        rows, info = await Sender(job(served.address)).run()
    assert max(sample.in_flight for sample in info.samples) == len(rows) > 20


async def test_failures_are_recorded_with_their_status() -> None:
    faults = [{"kind": "error", "after_tokens": 2}]
    async with serving("simulator", options={"faults": faults, "inter_token_seconds": 0.001}) as served:
        rows, info = await Sender(job(served.address)).run()
    assert {row.code for row in rows} == {"INTERNAL"}
    assert all(row.reason for row in rows)
    assert ledger(Run(rows, info)).is_kept


async def test_a_request_that_takes_too_long_ends_at_its_deadline() -> None:
    async with serving("simulator", options={"first_token_seconds": 60}) as served:
        made = job(served.address, rate=10)
        rows, _ = await Sender(replace(made, endpoint=replace(made.endpoint, deadline=0.3))).run()
    assert {row.code for row in rows} == {"DEADLINE_EXCEEDED"}


async def test_the_turns_of_a_session_come_one_after_the_other_and_grow(address: str) -> None:
    rows, info = await Sender(job(address, rate=10, turns=3, think_seconds=0.05)).run()
    assert ledger(Run(rows, info)).is_kept
    for session in {row.session for row in rows}:
        turns = [row for row in rows if row.session == session]
        assert [row.turn for row in turns] == [0, 1, 2]
        for before, after in pairwise(turns):
            assert after.intended_ns == before.end_ns + 50_000_000
            assert after.sent_ns >= after.intended_ns
            assert (after.prompt_tokens or 0) > (before.prompt_tokens or 0) + 4


async def test_turns_after_one_that_failed_are_failures_too() -> None:
    faults = [{"kind": "error"}]
    async with serving("simulator", options={"faults": faults}) as served:
        rows, info = await Sender(job(served.address, rate=10, turns=3)).run()
    counts = Counter(row.code for row in rows)
    assert counts[NOT_SENT] == 2 * counts["INTERNAL"]
    assert ledger(Run(rows, info)).is_kept
    assert "an earlier turn, failed" in next(row.reason for row in rows if row.code == NOT_SENT)


async def test_adapters_are_asked_for_by_name(address: str) -> None:
    rows, _ = await Sender(job(address, adapters=("absent",))).run()
    assert {(row.adapter, row.code) for row in rows} == {("absent", "NOT_FOUND")}


async def test_a_closed_loop_has_no_more_in_flight_than_its_concurrency() -> None:
    async with serving("simulator", options={"first_token_seconds": 0.05}) as served:
        plan = plan_of_closed(200, Workload.model_validate(SHORT), 1, "capacity")
        rows, info = await Sender(closed_job(Endpoint("contract", served.address), 3, 1.0, plan, 1)).run()
    assert 3 < len(rows) < 200
    assert max(sample.in_flight for sample in info.samples) == 3
    assert info.planned == len(rows)
    assert not info.arrivals.is_open


async def test_the_window_of_a_closed_loop_ends_with_its_requests(address: str) -> None:
    plan = plan_of_closed(20, Workload.model_validate(SHORT), 1, "capacity")
    rows, info = await Sender(closed_job(Endpoint("contract", address), 2, 60.0, plan, 1)).run()
    assert len(rows) == info.planned == 20
    assert info.phases[0].end_ns == max(row.end_ns for row in rows)


def test_a_closed_loop_of_nobody_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="found 0 and 5"):
        closed_job(Endpoint("contract", "127.0.0.1:1"), 0, 5, [], 1)


async def test_an_endpoint_where_nobody_is_ends_the_run_before_it_began(tmp_path: Path) -> None:
    earlier(tmp_path)
    with pytest.raises(EngineUnavailable, match=r"127\.0\.0\.1:1: expected a server within"):
        await run_load(job("127.0.0.1:1"), tmp_path)
    assert is_empty(tmp_path)


async def test_an_endpoint_that_dies_halfway_makes_the_run_invalid_and_says_when(tmp_path: Path) -> None:
    async with ServerProcess([{"backend": "simulator"}]) as server:
        await server.wait_serving(60)

        async def die(progress: Progress) -> None:
            await server.kill()

        dying: list[asyncio.Future[None]] = []
        rows, info = await run_load(
            job(server.address, seconds=4), tmp_path, lambda told: dying.append(asyncio.ensure_future(die(told)))
        )
        await asyncio.gather(*dying)
    found = reachable(Run(rows, info))
    assert not found.is_kept
    assert "nobody from" in found.reason
    assert ledger(Run(rows, info)).is_kept


async def test_a_sender_that_is_killed_leaves_nothing(address: str, tmp_path: Path) -> None:
    def kill(_: Progress) -> None:
        for child in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
            if b"load.process" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)

    with pytest.raises(ConfigurationError, match="the sender ended before the run did"):
        await run_load(job(address, seconds=5), tmp_path, kill)
    assert is_empty(tmp_path)


async def test_a_folder_that_cannot_be_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    earlier(tmp_path)
    with pytest.raises(ConfigurationError, match="expected a folder"):
        await run_load(job("127.0.0.1:1"), tmp_path / ROWS_FILE)


async def test_a_null_server_answers_with_as_many_tokens_as_were_asked_for() -> None:
    async with null_server() as address:
        rows, info = await Sender(job(address)).run()
    assert {row.tokens for row in rows} == {5}
    assert tokens(Run(rows, info)).is_kept


async def test_a_floor_has_a_median_for_each_of_its_metrics(address: str) -> None:
    floor = await floor_of(job(address, turns=2))
    assert sorted(floor) == ["e2el", "tpot", "ttft"]
    assert all(seconds > 0 for seconds in floor.values())


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = job("127.0.0.1:1", turns=2)
    write_job(made, tmp_path / "job")
    assert read_job(tmp_path / "job") == made
