"""Sends a run and records it. Meant for a process of its own: see `process.py`.

Nothing here waits for the target but what a request itself says: an open loop sends at the times of its schedule,
whatever has become of the requests before, with no bound on how many are in flight.
"""

import asyncio
import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bellhousing_conformance.load.clients import client_of
from bellhousing_conformance.load.clients.client import STREAM_FAILED, Client, Reading, Received
from bellhousing_conformance.load.job import Job
from bellhousing_conformance.load.record import NOT_SENT, OK, Phase, RunInfo, Sample, Sent
from bellhousing_conformance.load.workload import Planned

LEAD_SECONDS = 0.3
"""From the end of all preparation to the origin, so that the first requests are not late."""

SAMPLE_SECONDS = 0.02
TOLD_EVERY = 50
"""Samples between two reports of progress: one a second."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    seconds: float
    sent: int
    ended: int
    failed: int


@dataclass(slots=True)
class _Exchange:
    planned: Planned
    intended_ns: int
    received: Received


class Sender:
    """One run. `told` hears of its progress about once a second."""

    def __init__(self, job: Job, told: Callable[[Progress], None] = lambda _: None) -> None:
        self.job = job
        self.client: Client = client_of(job.endpoint)
        self.in_flight = 0
        self.origin_ns = 0
        self._told = told
        self._exchanges: list[_Exchange] = []
        self._skipped: list[Sent] = []
        self._samples: list[Sample] = []
        self._ended = 0
        self._failed = 0

    async def run(self) -> tuple[list[Sent], RunInfo]:
        """Send everything; return the rows in the order of their indices. Raises what `Client.open` raises."""
        sessions = list(_sessions(self.job.plan))
        prepared = [self.client.prepared(turns[0], turns[0].prompt) for turns in sessions]
        await self.client.open()
        try:
            info = await self._measured(sessions, prepared)
        finally:
            await self.client.close()
        rows = [self._row(exchange) for exchange in self._exchanges]
        return sorted([*rows, *self._skipped], key=lambda row: row.index), info

    async def _measured(self, sessions: Sequence[Sequence[Planned]], prepared: Sequence[bytes]) -> RunInfo:
        gc.collect()
        gc.freeze()
        gc.disable()
        started = datetime.now(UTC).isoformat()
        self.origin_ns = time.perf_counter_ns() + round(LEAD_SECONDS * 1e9)
        cpu, began = time.process_time(), time.perf_counter()
        sampling = asyncio.ensure_future(self._sample())
        try:
            await (self._open_loop if self.job.arrivals.is_open else self._closed_loop)(sessions, prepared)
        finally:
            sampling.cancel()
            gc.enable()
            gc.unfreeze()
        info = self.job.info(
            started=started,
            seconds=time.perf_counter() - began,
            cpu_seconds=time.process_time() - cpu,
            planned=self._planned(),
        )
        return replace(info, samples=tuple(self._samples), phases=self._phases())

    def _phases(self) -> tuple[Phase, ...]:
        """Return the phases; that of a closed loop whose requests gave out before its time ended with the last one."""
        phases = self.job.phases
        if self.job.arrivals.is_open or not self._exchanges:
            return phases
        last = max(exchange.received.end_ns for exchange in self._exchanges) - self.origin_ns
        return tuple(replace(phase, end_ns=min(phase.end_ns, last)) for phase in phases)

    def _planned(self) -> int:
        return len(self.job.plan) if self.job.arrivals.is_open else len(self._exchanges) + len(self._skipped)

    # The two loops.

    async def _open_loop(self, sessions: Sequence[Sequence[Planned]], prepared: Sequence[bytes]) -> None:
        talks = set[asyncio.Task[None]]()
        for turns, first in zip(sessions, prepared, strict=True):
            due = self.origin_ns + (turns[0].intended_ns or 0)
            await until(due)
            talk = asyncio.ensure_future(self.arrive(turns, first, due))
            talks.add(talk)
            talk.add_done_callback(talks.discard)
        await asyncio.gather(*talks)

    async def _closed_loop(self, sessions: Sequence[Sequence[Planned]], prepared: Sequence[bytes]) -> None:
        waiting = iter(zip(sessions, prepared, strict=True))
        until_ns = self.origin_ns + round(self.job.seconds * 1e9)

        async def work() -> None:
            await until(self.origin_ns)
            while (now := time.perf_counter_ns()) < until_ns and (found := next(waiting, None)):
                await self.arrive(*found, now)

        await asyncio.gather(*(work() for _ in range(self.job.arrivals.concurrency)))

    async def arrive(self, turns: Sequence[Planned], first: bytes, due_ns: int) -> None:
        """Send the turns of a session, the first one now; `due_ns` is when it was meant to be sent."""
        spoken, prepared = "", first
        for place, planned in enumerate(turns):
            exchange = _Exchange(planned, due_ns, Received())
            self._exchanges.append(exchange)
            reading = await self._exchanged(exchange, prepared, is_last=planned is turns[-1])
            if reading is None:
                continue
            if exchange.received.code != OK or reading.fault:
                self._skip(turns[place + 1 :], exchange)
                return
            following = turns[place + 1]
            due_ns = exchange.received.end_ns + following.wait_ns
            spoken = f"{spoken}{planned.prompt}{reading.text} "
            prepared = self.client.prepared(following, spoken + following.prompt)
            await until(due_ns)

    async def _exchanged(self, exchange: _Exchange, prepared: bytes, *, is_last: bool) -> Reading | None:
        """Send one request; return what came only where a later turn needs it."""
        self.in_flight += 1
        try:
            await self.send(prepared, exchange.received)
        finally:
            self.in_flight -= 1
        self._ended += 1
        self._failed += exchange.received.code != OK
        return None if is_last else self.client.read(exchange.received)

    async def send(self, prepared: bytes, received: Received) -> None:
        """Send one request and receive its answer."""
        await self.client.send(prepared, received)

    async def _sample(self) -> None:
        """Note how late this process is woken, what is in flight, and the wall clock."""
        while True:
            before = time.perf_counter_ns()
            await asyncio.sleep(SAMPLE_SECONDS)
            now = time.perf_counter_ns()
            lag = max(0, now - before - round(SAMPLE_SECONDS * 1e9))
            self._samples.append(Sample(now - self.origin_ns, lag, self.in_flight, time.time_ns()))
            if len(self._samples) % TOLD_EVERY == 0:
                seconds = (now - self.origin_ns) / 1e9
                self._told(Progress(seconds, len(self._exchanges), self._ended, self._failed))

    # Rows, once the run is over.

    def _row(self, exchange: _Exchange) -> Sent:
        planned, received = exchange.planned, exchange.received
        reading = self.client.read(received)
        code, reason = received.code, received.reason
        if code == OK and reading.fault:
            code, reason = STREAM_FAILED, reading.fault
        first, last = (reading.arrivals[0], reading.arrivals[-1]) if reading.arrivals else ((None, 0), (None, 0))
        return Sent(
            index=planned.index,
            phase=planned.phase,
            session=planned.session,
            adapter=planned.adapter,
            prompt_tokens=reading.prompt_tokens,
            intended_ns=exchange.intended_ns - self.origin_ns,
            sent_ns=received.sent_ns - self.origin_ns,
            first_ns=self._since(first[0]),
            last_ns=self._since(last[0]),
            end_ns=received.end_ns - self.origin_ns,
            first_tokens=first[1],
            tokens=sum(tokens for _, tokens in reading.arrivals),
            usage_tokens=reading.usage_tokens,
            code=code,
            reason=reason,
            gaps=tuple(_gaps(received.sent_ns, reading.arrivals)),
            queue_ns=reading.queue_ns,
            turn=planned.turn,
            prefix=planned.prefix,
        )

    def _since(self, stamp: int | None) -> int | None:
        return None if stamp is None else stamp - self.origin_ns

    def _skip(self, turns: Sequence[Planned], failed: _Exchange) -> None:
        """Note turns that cannot be sent: each is a failure, at the moment at which that was known."""
        at = failed.received.end_ns - self.origin_ns
        for planned in turns:
            row = Sent(
                index=planned.index,
                phase=planned.phase,
                session=planned.session,
                adapter=planned.adapter,
                prompt_tokens=None,
                intended_ns=at,
                sent_ns=at,
                first_ns=None,
                last_ns=None,
                end_ns=at,
                first_tokens=0,
                tokens=0,
                usage_tokens=None,
                code=NOT_SENT,
                reason=f"request {failed.planned.index}, an earlier turn, failed",
                turn=planned.turn,
                prefix=planned.prefix,
            )
            self._skipped.append(row)


async def until(due_ns: int) -> None:
    """Wait until a time of `perf_counter_ns`; let others run even when it has passed."""
    await asyncio.sleep(max(0.0, (due_ns - time.perf_counter_ns()) / 1e9))


def _sessions(plan: Sequence[Planned]) -> Iterator[list[Planned]]:
    """Yield the turns of each session, a lone request being one; in the order of the first turns' times."""
    found: dict[tuple[str, int], list[Planned]] = defaultdict(list)
    for planned in plan:
        key = ("request", planned.index) if planned.session is None else ("session", planned.session)
        found[key].append(planned)
    yield from sorted(found.values(), key=lambda turns: turns[0].intended_ns or 0)


def _gaps(sent_ns: int, arrivals: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    before = sent_ns
    for stamp, tokens in arrivals:
        yield stamp - before, tokens
        before = stamp
