"""The figures of a block, and of all blocks of a comparison: the same formulas as those of a load run."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from statistics import fmean

from bellhousing_conformance.compare.blocks import Block
from bellhousing_conformance.load.gate import Run
from bellhousing_conformance.load.metrics import METRICS, throughput
from bellhousing_conformance.load.record import Phase, Sent
from bellhousing_conformance.timing import quantile

SETTLE_SHARE = 0.2
"""The beginning of a closed loop that is not counted: its places fill."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A metric of a comparison. `of` gives a block's figure; None where it has none, infinity where most failed.

    `better` and `worse` say what a side is with the better and the worse figure.
    """

    name: str
    version: int
    title: str
    unit: str
    formula: str
    of: Callable[[Block], float | None]
    more_is_better: bool = False
    better: str = "faster"
    worse: str = "slower"

    @property
    def id(self) -> str:
        """Return `name/version`."""
        return f"{self.name}/{self.version}"

    @property
    def formula_hash(self) -> str:
        """Return the first 12 hexadecimal digits of the SHA-256 of the id and the formula."""
        return sha256(f"{self.id}: {self.formula}".encode()).hexdigest()[:12]


def measured_rows(block: Block) -> list[Sent]:
    """Return the rows of the open loop that count."""
    return Run(block.open_rows, block.open_info).measured


def median_of(metric: str) -> Callable[[Block], float | None]:
    """Return what gives a block's median of a metric of requests; a failed request is infinitely slow."""

    def of(block: Block) -> float | None:
        values = METRICS[metric].values(measured_rows(block))
        return quantile(values, 0.5) if values else None

    return of


def capacity(rows: Sequence[Sent], phase: Phase) -> tuple[float, float]:
    """Return the tokens a second of a closed loop, once its places are full, and the requests a second that they make.

    Requests that end in a few seconds are too few to count: they are the tokens by the mean length of an output.
    """
    start = phase.start_ns + round((phase.end_ns - phase.start_ns) * SETTLE_SHARE)
    tokens = throughput(rows, start, phase.end_ns)
    lengths = [row.tokens for row in rows if row.is_ok and row.tokens]
    return tokens, tokens / fmean(lengths) if lengths else 0.0


def _throughput(block: Block) -> float | None:
    return capacity(block.closed_rows, block.closed_info.phases[-1])[0] or None


def _cpu_per_token(block: Block) -> float | None:
    tokens = sum(row.tokens for row in block.open_rows)
    used = block.record.server_cpu_seconds
    return used / tokens if used and tokens else None


COMPARED: Mapping[str, Compared] = {
    each.name: each
    for each in (
        Compared("ttft_p50", 1, "TTFT p50", "s", "median of ttft/1, open loop", median_of("ttft")),
        Compared("tpot_p50", 1, "TPOT p50", "s", "median of tpot/1, open loop", median_of("tpot")),
        Compared("e2el_p50", 1, "E2E p50", "s", "median of e2el/1, open loop", median_of("e2el")),
        Compared(
            "throughput", 1, "throughput", "tokens/s",
            "tokens received in the last 80 % of the closed loop / its seconds", _throughput, more_is_better=True,
        ),
        Compared(
            "cpu_per_token", 1, "CPU per token", "s",
            "processor seconds of the server and all it started over the open loop / tokens received in it",
            _cpu_per_token, better="cheaper", worse="dearer",
        ),
    )
}  # fmt: skip
"""The metrics by name, in the order in which they are told."""


def log_ratio(first: float | None, second: float | None) -> float | None:
    """Return log(first / second); None without one of them, or where one is infinite: that is no ratio."""
    if not first or not second or not math.isfinite(first) or not math.isfinite(second):
        return None
    return math.log(first / second)


def geometric_mean(values: Sequence[float]) -> float | None:
    """Return the geometric mean; None of no values."""
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if values else None
