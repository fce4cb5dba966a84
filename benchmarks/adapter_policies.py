"""Which policy of eviction keeps the adapters that come back: hit rates on traces, beside the best that is possible.

The traces are drawn, so a rate is the same on every machine; runs differ in their seed.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from bellhousing.adapters.policies import POLICIES, Policy
from benchmarks.figures import Figure, figure

ADAPTERS, REQUESTS, SEEDS = 200, 20_000, 7
SLOTS = (8, 32)
SHIFT_EVERY = 2000
SCAN_EVERY = 4000
Trace = Sequence[int]
NEVER = 1 << 60


def zipf(seed: int, skew: float) -> Trace:
    """Return a trace whose popularity is rank ** -skew and stays."""
    rng = np.random.default_rng(seed)
    weights = np.arange(1, ADAPTERS + 1, dtype=float) ** -skew
    return rng.choice(ADAPTERS, REQUESTS, p=weights / weights.sum()).tolist()  # type: ignore[no-any-return]


def shifting(seed: int) -> Trace:
    """Return a Zipf trace, skew 1, whose most popular adapters are others after every 2,000 requests."""
    rng, trace = np.random.default_rng(seed), zipf(seed, 1.0)
    found: list[int] = []
    for begin in range(0, REQUESTS, SHIFT_EVERY):
        names = rng.permutation(ADAPTERS)
        found += [int(names[rank]) for rank in trace[begin : begin + SHIFT_EVERY]]
    return found


def scanned(seed: int) -> Trace:
    """Return a Zipf trace, skew 1, in which now and then a job asks for every adapter once."""
    trace, found = zipf(seed, 1.0), list[int]()
    for begin in range(0, REQUESTS, SCAN_EVERY):
        found += [*trace[begin : begin + SCAN_EVERY], *range(ADAPTERS)]
    return found


def in_bursts(seed: int) -> Trace:
    """Return a Zipf trace, skew 1, in which each draw asks from one to ten times in a row, among two neighbours."""
    rng, found = np.random.default_rng(seed), list[int]()
    draws = iter(zipf(seed, 1.0))
    while len(found) < REQUESTS:
        pair = list(islice(draws, 2))
        found += [pair[int(i)] for i in rng.integers(0, len(pair), int(rng.integers(2, 20)))]
    return found[:REQUESTS]


TRACES: dict[str, Callable[[int], Trace]] = {
    "Zipf 0.7": lambda seed: zipf(seed, 0.7),
    "Zipf 1.0": lambda seed: zipf(seed, 1.0),
    "Zipf 1.3": lambda seed: zipf(seed, 1.3),
    "popularity that shifts": shifting,
    "with scans": scanned,
    "in bursts": in_bursts,
}


def hit_rate(policy: Policy, trace: Trace) -> float:
    """Return the share of requests that find their adapter on a device that must load every other one."""
    resident, hits = set[str](), 0
    for request in trace:
        name = str(request)
        policy.used(name)
        if name in resident:
            hits += 1
            continue
        if len(resident) >= policy.slots:
            gone = policy.victim(resident)
            resident.discard(gone)
            policy.left(gone)
        resident.add(name)
        policy.brought(name)
    return hits / len(trace)


def best_rate(trace: Trace, slots: int) -> float:
    """Return the best hit rate, of one who knows the future."""
    return sum(best_hits(trace, slots)) / len(trace)


def best_hits(trace: Trace, slots: int) -> list[bool]:
    """Tell of each request whether it finds its adapter when who is wanted last goes (Belady, 1966)."""
    following, last = [NEVER] * len(trace), dict[int, int]()
    for position in range(len(trace) - 1, -1, -1):
        following[position] = last.get(trace[position], NEVER)
        last[trace[position]] = position
    resident, hits = dict[int, int](), list[bool]()
    for position, name in enumerate(trace):
        hits.append(name in resident)
        if name not in resident and len(resident) >= slots:
            del resident[max(resident, key=lambda key: resident[key])]
        resident[name] = following[position]
    return hits


async def measure() -> list[Figure]:
    """Return the hit rate of each policy on each trace."""
    return [
        figure(f"hit rate, {title}, {slots} slots, {name}", rates, unit="")
        for slots in SLOTS
        for title, draw in TRACES.items()
        for name, rates in _rates(draw, slots)
    ]


def _rates(draw: Callable[[int], Trace], slots: int) -> Iterator[tuple[str, list[float]]]:
    traces = [draw(seed) for seed in range(SEEDS)]
    for name, make in POLICIES.items():
        yield name, [hit_rate(make(slots), trace) for trace in traces]
    yield "best possible", [best_rate(trace, slots) for trace in traces]
