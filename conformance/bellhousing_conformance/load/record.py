"""What a load run leaves: a row for each request as it was sent and received, and what is known of the run itself.

Every stamp is of one clock, `time.perf_counter_ns`, and counts from the run's origin. The rows are the raw data: each
figure follows from them, and nothing is rounded or left out before.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Literal

import msgspec

from bellhousing.errors import ConfigurationError

SCHEMA: Literal["bellhousing.load/1"] = "bellhousing.load/1"
"""The first line of a file of rows; it changes whenever a reader must."""

ROWS_FILE = "sent.jsonl"
RUN_FILE = "run.json"
REPORT_FILE = "load.json"

OK = "OK"
NOT_SENT = "NOT_SENT"
"""The code of a request that was never sent, such as a turn after one that failed. It counts as failed."""

DEADLINE = "DEADLINE_EXCEEDED"


@dataclass(frozen=True, slots=True)
class Sent:
    """One request. Times are ns since the run's origin; `tokens` are those received, over all sequences.

    `gaps` has a pair for each message with tokens: the ns since the one before (the first: since `sent_ns`), and its
    tokens. `code` is OK or the name of a gRPC or HTTP status, `reason` why. `usage_tokens` is what the target says that
    it delivered, `queue_ns` how long it says that the request waited; None where it does not tell. `session` and `turn`
    say which place a request has in a conversation. `prefix` is the shared beginning of its prompt, -1 for none.
    """

    index: int
    phase: str
    session: int | None
    adapter: str
    prompt_tokens: int | None
    intended_ns: int
    sent_ns: int
    first_ns: int | None
    last_ns: int | None
    end_ns: int
    first_tokens: int
    tokens: int
    usage_tokens: int | None
    code: str
    reason: str = ""
    gaps: tuple[tuple[int, int], ...] = ()
    queue_ns: int | None = None
    turn: int = 0
    prefix: int = -1

    @property
    def is_ok(self) -> bool:
        """Tell whether it ended well."""
        return self.code == OK

    @property
    def stamps(self) -> tuple[tuple[int, int], ...]:
        """When each message with tokens was received, in ns since the origin, and its tokens."""
        times = accumulate((gap for gap, _ in self.gaps), initial=self.sent_ns)
        next(times)
        return tuple(zip(times, (tokens for _, tokens in self.gaps), strict=True))

    def faults(self) -> list[str]:
        """Return what in the row contradicts itself, a sentence each."""
        stamps = self.stamps
        first = stamps[0] if stamps else (None, 0)
        expected = {
            "first_ns": first[0],
            "last_ns": stamps[-1][0] if stamps else None,
            "first_tokens": first[1],
            "tokens": sum(tokens for _, tokens in stamps),
        }
        found = [
            f"request {self.index}: {name}: expected {value} from its gaps, found {getattr(self, name)}"
            for name, value in expected.items()
            if getattr(self, name) != value
        ]
        if any(gap < 0 for gap, _ in self.gaps) or self.end_ns < (self.last_ns or self.sent_ns):
            found.append(f"request {self.index}: its stamps go backwards")
        return found


@dataclass(frozen=True, slots=True)
class Sample:
    """The sender at one moment: how late it was woken, what it had in flight, and the wall clock beside the run's."""

    at_ns: int
    lag_ns: int
    in_flight: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The stated law of the arrivals. `cv` is the coefficient of variation of the gaps: 1 is Poisson.

    `law` is `poisson`, `gamma`, `trace` or, for a closed loop, `closed`; `rate` is requests a second.
    """

    law: str
    rate: float
    cv: float = 1.0
    trace: str = ""
    concurrency: int = 0

    @property
    def is_open(self) -> bool:
        """Tell whether arrivals do not wait for the target."""
        return self.law != "closed"


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the schedule, times in ns since the origin. Its rate goes from `rate` to `end_rate` in a straight line.

    Only measured phases count: what is sent in the others loads the target and no more.
    """

    name: str
    start_ns: int
    end_ns: int
    rate: float
    end_rate: float
    is_measured: bool


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run but for its rows.

    `planned` is how many requests it had to send, `deadline_seconds` the longest that each may take.
    `cpu_seconds` is the sender's processor time over `seconds`. Digests are of the schedule and of the workload;
    `started` is the wall time of the start in ISO 8601.
    """

    seed: int
    arrivals: Arrivals
    phases: tuple[Phase, ...]
    planned: int
    schedule_digest: str
    workload_digest: str
    client: str
    address: str
    deadline_seconds: float
    started: str
    seconds: float
    cpu_seconds: float
    suite_version: str
    host: str
    samples: tuple[Sample, ...] = ()
    schema: Literal["bellhousing.load/1"] = SCHEMA


def write_load(rows: Iterable[Sent], info: RunInfo, folder: Path) -> None:
    """Write a run. Raises `ConfigurationError` when it cannot be written; then the folder has neither of its files."""
    try:
        with whole_file(folder / ROWS_FILE) as file:
            file.write(msgspec.json.encode({"schema": SCHEMA}) + b"\n")
            for row in rows:
                file.write(msgspec.json.encode(row) + b"\n")
        with whole_file(folder / RUN_FILE) as file:
            file.write(msgspec.json.encode(info) + b"\n")
    except ConfigurationError:
        forget_load(folder)
        raise


def forget_load(folder: Path) -> None:
    """Remove the files of an earlier run and its report, so that one that fails cannot be taken for it."""
    for name in (ROWS_FILE, RUN_FILE, REPORT_FILE):
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)


def read_rows(folder: Path) -> list[Sent]:
    """Return the rows of a run. Raises `ConfigurationError` naming the line, what was found and what was expected."""
    file = folder / ROWS_FILE
    lines = _read(file).splitlines()
    _check_schema(file, lines[0] if lines else b"")
    return list(_rows(file, lines[1:]))


def read_run(folder: Path) -> RunInfo:
    """Return what is known of a run. Raises `ConfigurationError`."""
    file = folder / RUN_FILE
    content = _read(file)
    _check_schema(file, content)
    try:
        return msgspec.json.decode(content, type=RunInfo)
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"load run {str(file)!r}: {error}") from error


def _rows(file: Path, lines: Sequence[bytes]) -> Iterator[Sent]:
    decoder = msgspec.json.Decoder(Sent)
    for number, line in enumerate(lines, 2):
        try:
            row = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"load rows {str(file)!r}, line {number}: {error}") from error
        faults = row.faults()
        if faults:
            raise ConfigurationError(f"load rows {str(file)!r}, line {number}: {faults[0]}")
        yield row


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"load run {str(file)!r}: expected a file, found {error.strerror}") from error


def _check_schema(file: Path, content: bytes) -> None:
    try:
        found = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"load run {str(file)!r}: {error}") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise ConfigurationError(f"load run {str(file)!r}: expected schema {SCHEMA!r}, found {schema!r}")


def write_whole(text: str, file: Path) -> None:
    """Write a text, whole or not at all; see `whole_file`."""
    with whole_file(file) as opened:
        opened.write(text.encode())


@contextmanager
def whole_file(file: Path) -> Iterator[IO[bytes]]:
    """Yield a file that takes its name only when all of it is on the disk; a failure leaves nothing.

    Its folder is made where there is none. Raises `ConfigurationError` for what cannot be written.
    """
    part = file.with_name(file.name + ".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        part.replace(file)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise ConfigurationError(f"{str(file)!r} cannot be written: {error.strerror}; nothing was kept") from error
