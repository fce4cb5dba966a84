"""The blocks of a comparison: who is measured when, what is kept of each block, and when one is not counted.

A block has a folder with the raw rows of its open and its closed loop and, written last, what the machine did
meanwhile. The rule of rejection is fixed here, before any block, and does not know which side a block is of.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Literal

import msgspec

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.load.gates import gates, reachable
from bellhousing_conformance.load.metrics import METRICS, NS
from bellhousing_conformance.load.record import RunInfo, Sent, read_rows, read_run, whole_file
from bellhousing_conformance.timing import quantile

Arm = Literal["a", "b", "again"]
ARMS: tuple[Arm, ...] = ("a", "b", "again")
"""The sides; `again` is side A under another name: what it seems to differ from itself is noise."""

SCHEMA: Literal["bellhousing.compare-block/1"] = "bellhousing.compare-block/1"
BLOCKS, BLOCK_FILE, OPEN, CLOSED, PART = "blocks", "block.json", "open", "closed", ".part"

MOST_STEAL = 0.02
MOST_LAG_SECONDS = 0.02
MOST_IDLE_SHARE = 0.02
"""Of a processor, by the side that is not measured: an engine that spins while it waits takes time from the other."""

MOST_DELAY_SHARE = 0.05

NOT_OF_BLOCKS = {"warm-up", "loop lag p99", "send delay p99", "drift of ttft", "drift of tpot"}
"""Gates of a load run that a block has in another form.

Both sides were warmed up before the first block, and again in each; what drifts over minutes is in both members of a
pair. A block reports medians, which the latest of its few dozen requests does not move: its sender may be woken, and
send, `MOST_LAG_SECONDS` late at the worst, and `MOST_DELAY_SHARE` of the median TTFT in the middle.
"""


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """What is known of a block but for its rows.

    `server_cpu_seconds` is what the measured server used over the open loop, `idle_share` the processors that the other
    one used over the block; None where the server was not started by us, or is the same. `steal` and `pressure` are
    shares; None where the system does not tell. `started` is in ISO 8601.
    """

    pair: int
    attempt: int
    place: int
    arm: Arm
    seed: int
    started: str
    seconds: float
    steal: float | None = None
    pressure: float | None = None
    server_cpu_seconds: float | None = None
    idle_share: float | None = None
    schema: Literal["bellhousing.compare-block/1"] = SCHEMA

    @property
    def folder(self) -> str:
        """The name of its folder, which sorts in the order of measuring within a pair."""
        return folder_name(self.pair, self.attempt, self.place, self.arm)


@dataclass(frozen=True)
class Block:
    """A block with the rows of its open and its closed loop."""

    record: BlockRecord
    open_rows: Sequence[Sent]
    open_info: RunInfo
    closed_rows: Sequence[Sent]
    closed_info: RunInfo

    def rejections(self, floor: dict[str, float] | None) -> list[str]:
        """Return why the block does not count, a sentence each; `floor` is what the sender itself adds."""
        found = [*_missed("open loop", Run(self.open_rows, self.open_info, floor))]
        found += _missed("closed loop", Run(self.closed_rows, self.closed_info))
        record = self.record
        if record.steal is not None and record.steal > MOST_STEAL:
            found.append(f"steal: expected at most {MOST_STEAL:.0%}, found {record.steal:.1%}")
        if record.idle_share is not None and record.idle_share > MOST_IDLE_SHARE:
            bound = f"at most {MOST_IDLE_SHARE:.0%} of a processor"
            found.append(f"the side that waits: expected {bound}, found {record.idle_share:.0%}")
        return found

    @property
    def is_reachable(self) -> bool:
        """Tell whether the target was there until the end of both loops."""
        runs = (Run(self.open_rows, self.open_info), Run(self.closed_rows, self.closed_info))
        return all(reachable(run).is_kept for run in runs)


def _missed(loop: str, run: Run) -> Iterator[str]:
    for gate in gates(run):
        if not gate.is_kept and gate.name not in NOT_OF_BLOCKS:
            yield f"{loop}, {gate.reason}"
    lags = [sample.lag_ns / NS for sample in run.info.samples]
    delays = METRICS["send_delay"].values(run.measured)
    firsts = [value for value in METRICS["service_ttft"].values(run.measured) if math.isfinite(value)]
    most = MOST_DELAY_SHARE * quantile(firsts, 0.5) if firsts else MOST_LAG_SECONDS
    rules = (
        ("loop lag p99", lags, 0.99, MOST_LAG_SECONDS),
        ("send delay p99", delays, 0.99, MOST_LAG_SECONDS),
        ("send delay p50", delays, 0.5, most),
    )
    for name, values, share, bound in rules:
        found = quantile(values, share) if values else math.inf
        if found > bound:
            yield f"{loop}, {name}: expected at most {bound * 1000:.3g} ms, found {found * 1000:.3g} ms"


def folder_name(pair: int, attempt: int, place: int, arm: Arm) -> str:
    """Return the name of a block's folder."""
    return f"{pair:04d}-{attempt}-{place}-{arm}"


def order_of(seed: int, pair: int, attempt: int) -> tuple[Arm, ...]:
    """Return in which order the arms of a pair are measured: random, and each order once in six pairs.

    The members of a pair that is measured again are drawn again.
    """
    orders = list(permutations(ARMS))
    if attempt:
        return Random(f"order/{seed}/{pair}/{attempt}").choice(orders)
    group, place = divmod(pair, len(orders))
    Random(f"order/{seed}/{group}").shuffle(orders)
    return orders[place]


def seed_of(seed: int, pair: int, attempt: int) -> int:
    """Return the seed of a pair's load: all its arms have the same, each attempt another."""
    return Random(f"pair/{seed}/{pair}/{attempt}").randrange(2**31)


def write_record(record: BlockRecord, folder: Path) -> None:
    """Write what is known of a block, and with it make the folder a block. Raises `ConfigurationError`."""
    with whole_file(folder / BLOCK_FILE) as file:
        file.write(msgspec.json.encode(record) + b"\n")


def read_block(folder: Path) -> Block:
    """Return the block of a folder. Raises `ConfigurationError` naming the file."""
    file = folder / BLOCK_FILE
    try:
        record = msgspec.json.decode(file.read_bytes(), type=BlockRecord)
    except OSError as error:
        raise ConfigurationError(f"block {str(file)!r}: expected a file, found {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"block {str(file)!r}: {error}") from error
    if record.folder != folder.name:
        raise ConfigurationError(f"block {str(file)!r}: expected to lie in {record.folder!r}, found in {folder.name!r}")
    loops = [folder / OPEN, folder / CLOSED]
    (open_rows, open_info), (closed_rows, closed_info) = [(read_rows(loop), read_run(loop)) for loop in loops]
    return Block(record, open_rows, open_info, closed_rows, closed_info)


def read_blocks(folder: Path) -> list[Block]:
    """Return every whole block of a comparison, in the order of pairs, attempts and places."""
    return [read_block(each) for each in sorted((folder / BLOCKS).glob("*-*")) if each.suffix != PART]


def by_attempt(blocks: Sequence[Block]) -> dict[tuple[int, int], list[Block]]:
    """Return the blocks of each attempt at a pair."""
    found: dict[tuple[int, int], list[Block]] = {}
    for block in blocks:
        found.setdefault((block.record.pair, block.record.attempt), []).append(block)
    return found
