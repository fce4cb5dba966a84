"""Dishonest senders, each caught by the gate that is there for it."""

from collections.abc import AsyncIterator

import pytest

from bellhousing.testing.serving import serving
from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.load.job import Job
from bellhousing_conformance.load.record import Arrivals
from bellhousing_conformance.load.saboteurs import DISHONEST, DishonestSender
from bellhousing_conformance.load.sender import Sender
from bellhousing_conformance.load.validation import FAILING, SERVICE, job_of, with_failures
from tests.conformance.load.rows import gate_of


@pytest.fixture
async def job() -> AsyncIterator[Job]:
    model = SERVICE.model(failing=FAILING)
    async with serving("simulator", model=model, options=model["options"]) as served:  # type: ignore[arg-type]
        yield with_failures(job_of(served.address, Arrivals("poisson", 12), 2, 1, tokens=4))


@pytest.mark.parametrize("kind", DISHONEST)
async def test_a_dishonest_sender_is_caught(kind: type[DishonestSender], job: Job) -> None:
    rows, info = await kind(job).run()
    assert not gate_of(Run(rows, info), kind.seen_by).is_kept


async def test_the_honest_one_keeps_the_gates_that_no_machine_decides(job: Job) -> None:
    rows, info = await Sender(job).run()
    run = Run(rows, info)
    assert any(not row.is_ok for row in rows)
    for name in ("request ledger", "schedule", "token ledger", "reachable target"):
        assert gate_of(run, name).is_kept
