"""What is declared for the oracle, so that estimates of it come to PASS or FAIL."""

from bellhousing_conformance.bench import Bench
from bellhousing_conformance.loads import endpoint
from bellhousing_conformance.slo import Objective, Slo
from bellhousing_conformance.targets.target import Target

ORACLE_SLO = Slo(
    objective=(
        Objective(metric="ttft", percentile=50, limit=100, unit="ms"),
        Objective(metric="max_stall", percentile=50, limit=120, unit="ms"),
    ),
    attainment=0.7,
    goodput=7.9,
    throughput=650,
    tax_milliseconds=100,
)
"""Far from what the oracle does, and from what its saboteurs do: a proof runs on machines that others use too."""

CAPACITY = 60.0
"""Requests a second. Less than the oracle takes: the proxy has to take them too."""


def bench_of(upstream: Target) -> Bench:
    """Return what a proof measures with; the oracle without a proxy stands for an engine's own API."""
    return Bench(slo=ORACLE_SLO, capacity=CAPACITY, native=endpoint(upstream.where, upstream.model, natural=False))
