"""Whether the requests really arrived as the stated law says: gates on the times at which they were sent.

They look at the gaps in operational time (see `schedule.operational`), which have mean 1 whatever the rates. Tests of a
right sender fail now and then by chance: once in 1,000 runs where a p-value is asked for, once in 100 for the band of
99 %. Such a run is INVALID; its seed is as good as another, and the next one is not looked at before.
"""

import math
import random
from collections.abc import Sequence
from itertools import pairwise

from bellhousing_conformance.load.gate import Gate, Run, left_out
from bellhousing_conformance.load.metrics import NS
from bellhousing_conformance.load.schedule import operational

LEAST_P = 1e-3
LAG_SIGMAS = 3.0
BAND = 0.99
SIMULATIONS = 1000
WINDOW_ARRIVALS = 10
"""Arrivals that a window of the dispersion is expected to have."""

RESOLUTION_SECONDS = 0.002
"""Timers wake a process in steps of 1 ms, and late by about as much."""

LEAST_SURVIVAL = 0.1

LEAST_GAPS = 30
"""Fewer gaps decide nothing about a law."""

BOUND = "the stated law"
NAMES = ("law of the gaps", "lag-1 of the gaps", "dispersion", "phase in the second")


def arrival_gates(run: Run) -> list[Gate]:
    """Return the gates of a drawn schedule; for another they are not applicable, and say why."""
    law = run.info.arrivals.law
    if law not in {"poisson", "gamma"}:
        return [left_out(name, BOUND, f"arrivals of a {law} follow no law") for name in NAMES]
    times = sorted(operational(run.info.phases, row.sent_ns) for row in run.first_turns)
    gaps = [b - a for a, b in pairwise(times)]
    if len(gaps) < LEAST_GAPS:
        return [left_out(name, BOUND, f"{len(gaps)} gaps, of which {LEAST_GAPS} are needed") for name in NAMES]
    shape = run.info.arrivals.cv**-2
    return [_law(run, gaps, shape), _lag(gaps), _dispersion(run, times, shape), _phase(run)]


def _law(run: Run, gaps: Sequence[float], shape: float) -> Gate:
    """The gaps have the stated distribution, from the resolution of a timer on."""
    least = RESOLUTION_SECONDS * max(max(phase.rate, phase.end_rate) for phase in run.info.phases)
    p = law_p(gaps, shape, least)
    if p is None:
        return left_out(NAMES[0], BOUND, f"most gaps are shorter than {RESOLUTION_SECONDS * 1000:g} ms")
    return Gate(name=NAMES[0], is_kept=p >= LEAST_P, found=f"p = {p:.2g} of {len(gaps)}", bound=f"p >= {LEAST_P:g}")


def law_p(gaps: Sequence[float], shape: float, least: float) -> float | None:
    """Return the p-value of gaps being gamma with mean 1, by the largest difference at gaps of at least `least`.

    Below it stamps and timers decide, and a bursty law has most of its gaps there: they count, and their length does
    not. A bound on the p-value of Kolmogorov and Smirnov; None where the law has hardly any gap as long as that.
    """
    from scipy.stats import gamma, kstwo

    law, n = gamma(shape, scale=1 / shape), len(gaps)
    if law.sf(least) < LEAST_SURVIVAL:
        return None
    ordered = sorted(gaps)
    short = sum(gap < least for gap in ordered)
    differences = [abs(short / n - float(law.cdf(least)))]
    for place, expected in enumerate(law.cdf(ordered[short:]), short):
        differences += [abs(place / n - expected), abs((place + 1) / n - expected)]
    return float(kstwo.sf(max(differences), n))


def _lag(gaps: Sequence[float]) -> Gate:
    """A gap says nothing of the next one."""
    mean = math.fsum(gaps) / len(gaps)
    spread = math.fsum((gap - mean) ** 2 for gap in gaps)
    r = math.fsum((a - mean) * (b - mean) for a, b in pairwise(gaps)) / spread if spread else 1.0
    most = LAG_SIGMAS / math.sqrt(len(gaps))
    return Gate(name=NAMES[1], is_kept=abs(r) < most, found=f"{r:+.3f}", bound=f"|r| below {most:.3f}")


def _dispersion(run: Run, times: Sequence[float], shape: float) -> Gate:
    """Counts in windows vary as those of the law do: the band is found by simulating it (1,000 draws of the seed)."""
    windows = max(2, len(times) // WINDOW_ARRIVALS)
    length = operational(run.info.phases, run.info.phases[-1].end_ns)
    found = _index(times, length, windows)
    source = random.Random(f"dispersion/{run.info.seed}")
    drawn = sorted(_index(_process(source, shape, length), length, windows) for _ in range(SIMULATIONS))
    tail = (1 - BAND) / 2
    low, high = drawn[math.floor(tail * SIMULATIONS)], drawn[math.ceil((1 - tail) * SIMULATIONS) - 1]
    bound = f"in [{low:.3g}, {high:.3g}]"
    return Gate(name=NAMES[2], is_kept=low <= found <= high, found=f"{found:.3g} over {windows} windows", bound=bound)


def _process(source: random.Random, shape: float, length: float) -> list[float]:
    times, at = [], 0.0
    while (at := at + source.gammavariate(shape, 1 / shape)) < length:
        times.append(at)
    return times


def _index(times: Sequence[float], length: float, windows: int) -> float:
    """Return the variance of the counts in equal windows over their expected mean."""
    counts = [0] * windows
    for at in times:
        counts[min(windows - 1, max(0, int(at / length * windows)))] += 1
    mean = length / windows
    return math.fsum((count - mean) ** 2 for count in counts) / windows / mean


def _phase(run: Run) -> Gate:
    """Poisson arrivals of one rate prefer no part of the second."""
    from scipy.stats import kstest

    info = run.info
    rates = {rate for phase in info.phases for rate in (phase.rate, phase.end_rate)}
    if info.arrivals.cv != 1 or len(rates) > 1:
        return left_out(NAMES[3], BOUND, "the test is of Poisson arrivals of one rate")
    end = math.floor(info.phases[-1].end_ns / NS)  # whole seconds: the rest of one is not even
    inside = [row.sent_ns / NS % 1.0 for row in run.first_turns if row.sent_ns / NS < end]
    if len(inside) < LEAST_GAPS:
        return left_out(NAMES[3], BOUND, f"{len(inside)} requests in whole seconds, of which {LEAST_GAPS} are needed")
    p = float(kstest(inside, "uniform").pvalue)
    return Gate(name=NAMES[3], is_kept=p >= LEAST_P, found=f"p = {p:.2g}", bound=f"p >= {LEAST_P:g}")
