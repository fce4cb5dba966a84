"""What is asked: prompts of wanted lengths, shared prefixes, adapters, sessions. All of it follows from a seed.

Prompts are random letters with spaces between, a token each in most vocabularies; `tokens_per_word` corrects where it
is another number. Each begins with letters of its own (its salt), so that no cache of prefixes knows it, unless it has
a shared prefix, which begins with the run's own salt.
"""

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import groupby
from string import ascii_lowercase

import msgspec
from pydantic import Field, model_validator

from bellhousing.errors import ConfigurationError
from bellhousing.settings import Strict
from bellhousing_conformance.load.record import Arrivals, Phase
from bellhousing_conformance.load.schedule import NS, Schedule
from bellhousing_conformance.load.traces import BLOCK_TOKENS, TraceRow

SEED_LIMIT = 2**31 - 1


class Lengths(Strict):
    """Numbers of tokens, drawn evenly from `low` to `high`, both included."""

    low: int = Field(ge=1)
    high: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> "Lengths":
        if self.high < self.low:
            raise ValueError(f"expected at least {self.low} tokens, found {self.high}")
        return self

    def draw(self, source: random.Random) -> int:
        """Return a length."""
        return source.randint(self.low, self.high)


class Workload(Strict):
    """What requests look like. With `natural` outputs end where the model ends them, else all have their length.

    Of `adapters` (an empty name is the base model) the k-th has a weight of `k ** -zipf`. Prompts share `prefixes`
    beginnings of `prefix_tokens` tokens, each as probable as another. A session has `turns` turns: each is sent
    `think_seconds` after the one before has ended and begins with everything said until then. Where `context_length`
    is told, the lengths of a trace are scaled by one factor so that all fit.
    """

    prompt_tokens: Lengths = Lengths(low=64, high=64)
    output_tokens: Lengths = Lengths(low=32, high=32)
    natural: bool = False
    adapters: tuple[str, ...] = ("",)
    zipf: float = Field(0.0, ge=0, allow_inf_nan=False)
    prefixes: int = Field(0, ge=0)
    prefix_tokens: int = Field(0, ge=0)
    turns: int = Field(1, ge=1)
    think_seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    tokens_per_word: float = Field(1.0, gt=0, allow_inf_nan=False)
    context_length: int | None = Field(None, ge=2)

    @model_validator(mode="after")
    def _whole(self) -> "Workload":
        if not self.adapters:
            raise ValueError("adapters: expected at least one name, found none")
        if bool(self.prefixes) != bool(self.prefix_tokens):
            raise ValueError("expected prefixes and prefix_tokens together, found one of them")
        return self


@dataclass(frozen=True, slots=True)
class Planned:
    """A request to be sent. `intended_ns` counts from the origin; of a later turn it is None, and `wait_ns` counts from
    the end of the turn before. `prompt` is what is new in it, `seed` that of its draws, `prefix` -1 for none.
    """

    index: int
    phase: str
    intended_ns: int | None
    prompt: str
    max_tokens: int
    seed: int
    adapter: str = ""
    prefix: int = -1
    session: int | None = None
    turn: int = 0
    wait_ns: int = 0


def plan_of(schedule: Schedule, workload: Workload, seed: int) -> list[Planned]:
    """Return the requests of a schedule: at each of its times one, or the first turn of a session."""
    source = _Texts(workload, seed)
    starts = [(at, schedule.phase_of(at)) for at in schedule.times_ns]
    return list(_planned(starts, workload, source))


def plan_of_closed(count: int, workload: Workload, seed: int, phase: str) -> list[Planned]:
    """Return requests for a closed loop, which sends each when a place is free."""
    return list(_planned([(0, phase)] * count, workload, _Texts(workload, seed)))


def _planned(starts: Sequence[tuple[int, str]], workload: Workload, source: "_Texts") -> Iterator[Planned]:
    is_session = workload.turns > 1
    for number, (at, phase) in enumerate(starts):
        adapter, prefix = source.adapter(), source.prefix()
        for turn in range(workload.turns):
            tokens, wanted = source.lengths()
            yield Planned(
                index=number * workload.turns + turn,
                phase=phase,
                intended_ns=at if turn == 0 else None,
                prompt=source.prompt(tokens, prefix if turn == 0 else -1),
                max_tokens=wanted,
                seed=source.seed(),
                adapter=adapter,
                prefix=prefix,
                session=number if is_session else None,
                turn=turn,
                wait_ns=round(workload.think_seconds * NS) if turn else 0,
            )


def plan_of_trace(
    name: str, rows: Sequence[TraceRow], workload: Workload, seed: int, seconds: float | None = None
) -> tuple[Schedule, list[Planned]]:
    """Return the schedule and the requests of a trace, or of its first seconds.

    A session that begins within them is played whole. Raises `ConfigurationError` for what leaves no request, and for a
    trace whose requests all come at once, which has no rate.
    """
    if seconds is not None and not math.isfinite(seconds):
        raise ConfigurationError(f"trace {name!r}: expected a number of seconds, found {seconds:g}")
    kept = _within(rows, seconds)
    if not kept:
        raise ConfigurationError(f"trace {name!r}: expected a request in the first {seconds:g} s, found none")
    times = tuple(round(row.seconds * NS) for row in kept if row.delay is None)
    length = seconds or max(row.seconds for row in kept)  # the last row may be a turn of an early session
    if not length:
        raise ConfigurationError(f"trace {name!r}: expected requests over a time above 0 s, found {len(kept)} at once")
    rate = len(times) / length
    phase = Phase("trace", 0, round(length * NS), rate, rate, is_measured=True)
    schedule = Schedule(Arrivals("trace", rate, trace=name), (phase,), times)
    source = _Texts(workload, seed)
    return schedule, [replace(each, index=index) for index, each in enumerate(_of_rows(kept, workload, source))]


def digest_of_plan(plan: Sequence[Planned]) -> str:
    """Return the digest of everything that is asked, `sha256:...`."""
    return "sha256:" + sha256(msgspec.msgpack.encode(list(plan))).hexdigest()


def _within(rows: Sequence[TraceRow], seconds: float | None) -> list[TraceRow]:
    begun = {row.session for row in rows if row.delay is None and (seconds is None or row.seconds < seconds)}
    return [
        row
        for row in rows
        if (row.session in begun if row.delay is not None else seconds is None or row.seconds < seconds)
    ]


def _of_rows(rows: Sequence[TraceRow], workload: Workload, source: "_Texts") -> Iterator[Planned]:
    scale = _scale(rows, workload.context_length)
    order = sorted(rows, key=lambda row: row.session)  # stable: turns stay in order
    number = 0
    adapter = ""
    for session, turns in groupby(order, key=lambda row: row.session or None):
        for turn, row in enumerate(turns):
            is_first = turn == 0 or session is None
            number += is_first
            adapter = source.adapter() if is_first else adapter
            yield Planned(
                index=0,
                phase="trace",
                intended_ns=round(row.seconds * NS) if is_first else None,
                prompt=source.blocks(row, scale),
                max_tokens=max(1, int(row.output_tokens * scale)),
                seed=source.seed(),
                adapter=adapter,
                session=number if session else None,
                turn=0 if session is None else turn,
                wait_ns=0 if is_first else round((row.delay or 0) * NS),
            )


def _scale(rows: Sequence[TraceRow], context: int | None) -> float:
    """Return the one factor at which the longest row fits into the context, and the last turn of every session.

    A turn begins with everything said before it, so that a session needs the sum of its turns.
    """
    longest, sessions = 0, Counter[str]()
    for row in rows:
        tokens = row.prompt_tokens + row.output_tokens
        sessions[row.session] += tokens
        longest = max(longest, sessions[row.session] if row.session else tokens)
    return min(1.0, context / longest) if context else 1.0


class _Texts:
    """Everything that is drawn for a workload."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self._workload = workload
        self._seed = seed
        self._source = random.Random(f"workload/{seed}")
        self._weights = [place**-workload.zipf for place in range(1, len(workload.adapters) + 1)]
        self._prefixes = [
            self._words(random.Random(f"prefix/{seed}/{place}"), workload.prefix_tokens)
            for place in range(workload.prefixes)
        ]

    def adapter(self) -> str:
        return self._source.choices(self._workload.adapters, self._weights)[0]

    def prefix(self) -> int:
        return self._source.randrange(len(self._prefixes)) if self._prefixes else -1

    def seed(self) -> int:
        return self._source.randrange(SEED_LIMIT)

    def lengths(self) -> tuple[int, int]:
        return self._workload.prompt_tokens.draw(self._source), self._workload.output_tokens.draw(self._source)

    def prompt(self, tokens: int, prefix: int) -> str:
        own = self._words(self._source, tokens)
        return f"{self._prefixes[prefix]} {own}" if prefix >= 0 else own

    def blocks(self, row: TraceRow, scale: float) -> str:
        """Return a prompt in which equal blocks of the trace are equal texts."""
        size = max(1, round(BLOCK_TOKENS * scale))
        tokens = max(1, int(row.prompt_tokens * scale))
        shared = row.blocks[: tokens // size]
        parts = [self._words(random.Random(f"block/{self._seed}/{block}"), size) for block in shared]
        rest = tokens - size * len(shared)
        return " ".join([*parts, self._words(self._source, rest)] if rest > 0 else parts)

    def _words(self, source: random.Random, tokens: int) -> str:
        return " ".join(source.choices(ascii_lowercase, k=max(1, round(tokens / self._workload.tokens_per_word))))
