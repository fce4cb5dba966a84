"""What a load run comes to: VALID or INVALID with the reasons, and estimates that follow from its rows."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from bellhousing_conformance.load.document import differences, finite, read_document, write_document
from bellhousing_conformance.load.gate import Gate, Run
from bellhousing_conformance.load.gates import gates
from bellhousing_conformance.load.metrics import METRICS, NS, goodput, throughput
from bellhousing_conformance.load.percentiles import LEAST_SIZES, percentile
from bellhousing_conformance.load.record import REPORT_FILE, ROWS_FILE, RunInfo, Sent, read_rows, read_run
from bellhousing_conformance.verdict import Frozen

SCHEMA: Literal["bellhousing.load-report/1"] = "bellhousing.load-report/1"


class Estimate(Frozen):
    """A percentile of a metric, in seconds. None is beyond the deadline, or a bound that the sample does not have.

    `text` is how it is printed, which tells why where it is not.
    """

    metric: str
    formula_hash: str
    percent: int
    n: int
    n_eff: float
    value: float | None
    low: float | None
    high: float | None
    is_printable: bool
    text: str


class LoadReport(Frozen):
    """A run. `reasons` are what makes it INVALID; rates are per second of the window.

    `floor` has the medians on a null server, `limits` those of the goodput; both in seconds by metric. `rows_sha256` is
    the digest of the raw rows that all of it follows from.
    """

    schema_version: Literal["bellhousing.load-report/1"] = SCHEMA
    verdict: Literal["VALID", "INVALID"]
    reasons: tuple[str, ...]
    scenario: str
    client: str
    seed: int
    schedule_digest: str
    workload_digest: str
    rows_sha256: str
    window_seconds: float
    requests: int
    failures: dict[str, int]
    requests_per_second: float
    tokens_per_second: float
    goodput_per_second: float | None
    limits: dict[str, float]
    floor: dict[str, float] | None
    gates: tuple[Gate, ...]
    estimates: tuple[Estimate, ...]


def report_of(
    folder: Path, *, floor: Mapping[str, float] | None = None, limits: Mapping[str, float] | None = None
) -> LoadReport:
    """Return the report of the run in a folder. Raises `ConfigurationError` for a run that cannot be read."""
    digest = hashlib.sha256((folder / ROWS_FILE).read_bytes()).hexdigest()
    return judged(read_rows(folder), read_run(folder), digest, floor=floor, limits=limits)


def judged(
    rows: Sequence[Sent],
    info: RunInfo,
    digest: str = "",
    *,
    floor: Mapping[str, float] | None = None,
    limits: Mapping[str, float] | None = None,
) -> LoadReport:
    """Return the report of a run. Raises `ConfigurationError` for a limit on a metric that there is not."""
    run = Run(rows, info, dict(floor) if floor is not None else None)
    decided = tuple(gates(run))
    reasons = tuple(gate.reason for gate in decided if not gate.is_kept)
    start, end = run.window
    measured = run.measured
    return LoadReport(
        verdict="INVALID" if reasons else "VALID",
        reasons=reasons,
        scenario=scenario(info),
        client=info.client,
        seed=info.seed,
        schedule_digest=info.schedule_digest,
        workload_digest=info.workload_digest,
        rows_sha256=digest,
        window_seconds=(end - start) / NS,
        requests=len(measured),
        failures=dict(Counter(row.code for row in measured if not row.is_ok)),
        requests_per_second=sum(row.is_ok for row in measured) / ((end - start) / NS),
        tokens_per_second=throughput(rows, start, end),
        goodput_per_second=goodput(rows, limits, start, end) if limits else None,
        limits=dict(limits or {}),
        floor=run.floor,
        gates=decided,
        estimates=tuple(_estimates(measured, info.deadline_seconds)),
    )


def scenario(info: RunInfo) -> str:
    """Return what a run was, in words; a closed loop is a measure of capacity and never of latency under load."""
    arrivals = info.arrivals
    if not arrivals.is_open:
        return f"closed loop of {arrivals.concurrency}: capacity only"
    if arrivals.law == "trace":
        return f"open loop, trace {arrivals.trace}, {arrivals.rate:.4g} requests/s on average"
    law = "Poisson" if arrivals.law == "poisson" else f"gamma with cv {arrivals.cv:g}"
    rates = [f"{p.rate:g}" if p.rate == p.end_rate else f"{p.rate:g} to {p.end_rate:g}" for p in info.phases]
    return f"open loop, {law}, {', '.join(rates)} requests/s"


def write_load_report(report: LoadReport, folder: Path) -> None:
    """Write the report into the run's folder, whole or not at all. Raises `ConfigurationError`."""
    write_document(report, folder / REPORT_FILE)


def read_load_report(folder: Path) -> LoadReport:
    """Return the report of a folder. Raises `ConfigurationError`."""
    return read_document(LoadReport, folder / REPORT_FILE, "load report")


def disagreements(folder: Path) -> list[str]:
    """Return where a folder's report is not what follows from its rows: a sentence for each field, none when it is."""
    told = read_load_report(folder)
    again = report_of(folder, floor=told.floor, limits=told.limits)
    return differences(told, again)


def _estimates(rows: Sequence[Sent], deadline: float) -> Iterator[Estimate]:
    order = sorted(rows, key=lambda row: (row.intended_ns, row.index))
    for metric in METRICS.values():
        values = metric.values(order)
        for percent in LEAST_SIZES if values else ():
            found = percentile(values, percent)
            yield Estimate(
                metric=metric.id,
                formula_hash=metric.formula_hash,
                percent=percent,
                n=found.n,
                n_eff=found.n_eff,
                value=finite(found.value),
                low=finite(found.low),
                high=finite(found.high),
                is_printable=found.is_printable,
                text=found.text(deadline),
            )
