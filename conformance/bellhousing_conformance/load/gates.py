"""The gates of a load run: what the sender must have kept to, or the run's figures mean nothing.

Each is decided from the rows and from what is known of the run alone, so that a run can be judged again. A gate judges
the sender, the machine and the schedule, never the target, but for one that cannot be reached at all.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

from bellhousing_conformance.load.arrivals import arrival_gates
from bellhousing_conformance.load.clients.client import CONNECTION
from bellhousing_conformance.load.gate import Gate, Run, left_out
from bellhousing_conformance.load.metrics import METRICS, NS
from bellhousing_conformance.load.record import DEADLINE, NOT_SENT
from bellhousing_conformance.load.schedule import digest_of
from bellhousing_conformance.load.steady import LEAST_WARM_UP, drift
from bellhousing_conformance.timing import quantile

DELAY_SECONDS, DELAY_SHARE = 0.005, 0.05
RATE_SHARE = 0.02
LAG_SECONDS = 0.005
CPU_SHARE = 0.6
LITTLE_SHARE = 0.05
FLOOR_SHARE = 0.05
WALL_SECONDS = 0.05
"""How far the wall clock may move beside the run's own: more is a clock that was set, or a machine that slept."""

LOST_REQUESTS = 5
"""So many requests in a row, up to the last, that found nobody: the target was gone."""

DRIFT_P = 1e-3
STEADY = ("ttft", "tpot")

FLOOR_METRICS = ("ttft", "tpot", "e2el")


GateOf = Callable[[Run], Gate]


def gates(run: Run) -> list[Gate]:
    """Return every gate of a run, in the order in which to tell them."""
    accounting = [gate(run) for gate in ACCOUNTING]
    return [*accounting, *arrival_gates(run), *(gate(run) for gate in MACHINE), *steadiness(run)]


# Accounting: every request is there, once, as planned.


def ledger(run: Run) -> Gate:
    """Every planned request has one row: a lost failure is the kindest of all lies."""
    counts = Counter(row.index for row in run.rows)
    missing = [index for index in range(run.info.planned) if index not in counts]
    twice = [index for index, count in counts.items() if count > 1]
    found = f"{len(run.rows)} rows, {len(missing)} missing, {len(twice)} twice"
    is_kept = not missing and not twice and len(run.rows) == run.info.planned
    return Gate(name="request ledger", is_kept=is_kept, found=found, bound=f"{run.info.planned} requests once each")


def schedule(run: Run) -> Gate:
    """The intended times are those of the schedule that was made before the start."""
    bound = "the times of the schedule"
    if not run.info.arrivals.is_open:
        return left_out("schedule", bound, "a closed loop has none")
    is_kept = digest_of([row.intended_ns for row in run.first_turns]) == run.info.schedule_digest
    return Gate(name="schedule", is_kept=is_kept, found="those times" if is_kept else "other times", bound=bound)


def tokens(run: Run) -> Gate:
    """The tokens received are those that the target says it delivered, for each request that ended well."""
    told = [row for row in run.rows if row.is_ok and row.usage_tokens is not None]
    silent = sum(row.is_ok for row in run.rows) - len(told)
    wrong = [row for row in told if row.tokens != row.usage_tokens]
    if silent:
        return Gate(name="token ledger", is_kept=False, found=f"{silent} without usage", bound="usage of every request")
    found = f"{len(wrong)} of {len(told)} differ"
    if wrong:
        found += f", such as request {wrong[0].index}: {wrong[0].tokens} and {wrong[0].usage_tokens}"
    return Gate(name="token ledger", is_kept=not wrong, found=found, bound="tokens received = tokens of usage")


def reachable(run: Run) -> Gate:
    """The target was there until the end."""
    order = sorted((row for row in run.rows if row.code != NOT_SENT), key=lambda row: row.sent_ns)
    lost = 0
    while lost < len(order) and order[-1 - lost].code == CONNECTION:
        lost += 1
    gone = lost >= min(LOST_REQUESTS, max(1, len(order)))
    since = f"; nobody from {order[-lost].sent_ns / NS:.1f} s on" if gone and order else ""
    found = f"{lost} last requests unanswered{since}"
    return Gate(name="reachable target", is_kept=not gone, found=found, bound=f"fewer than {LOST_REQUESTS} in a row")


# Sending: when it was meant to be.


def delay(run: Run) -> Gate:
    """The sender kept to its schedule: send delay p99 is at most 5 ms or 5 % of the median TTFT."""
    sent = [row for row in run.measured if row.code != NOT_SENT]
    ttft = [value for value in METRICS["service_ttft"].values(sent) if math.isfinite(value)]
    most = max(DELAY_SECONDS, DELAY_SHARE * quantile(ttft, 0.5)) if ttft else DELAY_SECONDS
    found = quantile([(row.sent_ns - row.intended_ns) / NS for row in sent], 0.99) if sent else 0.0
    return Gate(name="send delay p99", is_kept=found <= most, found=_ms(found), bound=f"at most {_ms(most)}")


def rate(run: Run) -> Gate:
    """The achieved rate is that of the schedule: the times of sending span what they were meant to."""
    bound = f"within {RATE_SHARE:.0%} of the schedule's"
    turns = run.first_turns
    if not run.info.arrivals.is_open or len(turns) < 2:
        return left_out("achieved rate", bound, "no schedule of two requests")
    meant = turns[-1].intended_ns - turns[0].intended_ns
    stamps = [row.sent_ns for row in turns]
    span = max(stamps) - min(stamps)
    share = meant / span - 1 if span else math.inf
    return Gate(name="achieved rate", is_kept=abs(share) <= RATE_SHARE, found=f"{share:+.2%}", bound=bound)


# The machine and the clock.


def loop_lag(run: Run) -> Gate:
    """The sender was woken in time."""
    lags = [sample.lag_ns / NS for sample in run.info.samples]
    found = quantile(lags, 0.99) if lags else math.inf
    return Gate(
        name="loop lag p99", is_kept=found <= LAG_SECONDS, found=_ms(found), bound=f"at most {_ms(LAG_SECONDS)}"
    )


def cpu(run: Run) -> Gate:
    """The sender had processor time to spare."""
    found = run.info.cpu_seconds / run.info.seconds if run.info.seconds else math.inf
    return Gate(name="client CPU", is_kept=found <= CPU_SHARE, found=f"{found:.0%}", bound=f"at most {CPU_SHARE:.0%}")


def clock(run: Run) -> Gate:
    """The wall clock went as the run's own did."""
    offsets = [sample.wall_ns - sample.at_ns for sample in run.info.samples]
    found = (max(offsets) - min(offsets)) / NS if offsets else math.inf
    bound = f"at most {_ms(WALL_SECONDS)} apart"
    return Gate(name="wall clock", is_kept=found <= WALL_SECONDS, found=_ms(found), bound=bound)


def little(run: Run) -> Gate:
    """Little's law: the requests seen in flight are those that the rows say (Little, 1961).

    The left side is counted by the sender while it sends; rows that were lost, or stamped late, do not add up to it.
    """
    samples = [sample for sample in run.info.samples if 0 <= sample.at_ns < run.window[1]]
    bound = f"within {LITTLE_SHARE:.0%} of the rows'"
    if len(samples) < 2:
        return Gate(name="Little's law", is_kept=False, found="no samples", bound=bound)
    start, end = samples[0].at_ns, samples[-1].at_ns
    seen = sum(b.in_flight * (b.at_ns - a.at_ns) for a, b in pairwise(samples)) / (end - start)
    spans = (min(row.end_ns, end) - max(row.sent_ns, start) for row in run.rows)
    rows = sum(span for span in spans if span > 0) / (end - start)
    error = abs(seen - rows)
    # What is counted in steps of a sample cannot be known better than to a step for each request.
    most = LITTLE_SHARE * max(seen, rows) + _sampling_error(run, start, end)
    found = f"{seen:.3g} in flight, {rows:.3g} by the rows"
    return Gate(name="Little's law", is_kept=error <= most, found=found, bound=bound)


def _sampling_error(run: Run, start: int, end: int) -> float:
    """Return three standard errors of the number in flight, from counting a request's time in steps of a sample."""
    samples = run.info.samples
    step = (samples[-1].at_ns - samples[0].at_ns) / (len(samples) - 1)
    count = sum(start <= row.end_ns and row.sent_ns < end for row in run.rows)
    return 3 * step * math.sqrt(count / 6) / (end - start)


def floor(run: Run) -> Gate:
    """What the sender itself adds, seen on a server that does nothing, is at most 5 % of what is reported."""
    bound = f"at most {FLOOR_SHARE:.0%} of what is reported"
    if run.floor is None:
        return left_out("null floor", bound, "no null run of this client")
    shares = dict(_floor_shares(run, run.floor))
    if not shares:
        return Gate(name="null floor", is_kept=False, found="nothing reported to compare with", bound=bound)
    worst = max(shares, key=lambda name: shares[name])
    found = f"{shares[worst]:.1%} of {worst} ({_ms(run.floor[worst])})"
    return Gate(name="null floor", is_kept=shares[worst] <= FLOOR_SHARE, found=found, bound=bound)


def _floor_shares(run: Run, floors: dict[str, float]) -> Iterator[tuple[str, float]]:
    for name in FLOOR_METRICS:
        values = [value for value in METRICS[name].values(run.measured) if math.isfinite(value)]
        if values and name in floors:
            reported = quantile(values, 0.5)
            yield name, floors[name] / reported if reported > 0 else math.inf


def deadlines(run: Run) -> Gate:
    """Nothing outlived its deadline: a clock that stops, or a timer that does not fire, would show here."""
    most = run.info.deadline_seconds
    longest = max(((row.end_ns - row.sent_ns) / NS for row in run.rows), default=0.0)
    late = [row for row in run.rows if row.code != DEADLINE and (row.end_ns - row.sent_ns) / NS > most + 1]
    return Gate(name="deadline", is_kept=not late, found=f"{longest:.3g} s at most", bound=f"at most {most:g} s")


def steadiness(run: Run) -> list[Gate]:
    """The target was warm before the window, and no metric drifts within it."""
    bound = (
        f"at least {LEAST_WARM_UP} requests before the window, the last two tens of them alike within 10 % or by chance"
    )
    is_warm, found = False, "never steady"
    if run.warm_up is not None:
        is_warm = run.first_turns[run.warm_up - 1].intended_ns <= run.window[0]
        ahead = sum(row.intended_ns < run.window[0] for row in run.first_turns)
        found = f"steady after {run.warm_up}, {ahead} before the window"
    return [Gate(name="warm-up", is_kept=is_warm, found=found, bound=bound), *(_drift(run, each) for each in STEADY)]


def _drift(run: Run, name: str) -> Gate:
    rows = sorted(run.measured, key=lambda row: row.intended_ns)
    bound = f"p >= {DRIFT_P:g}"
    p = drift(METRICS[name].values(rows))
    if p is None:
        return left_out(f"drift of {name}", bound, "too few values")
    return Gate(name=f"drift of {name}", is_kept=p >= DRIFT_P, found=f"p = {p:.2g}", bound=bound)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


ACCOUNTING: tuple[GateOf, ...] = (ledger, schedule, tokens, reachable, delay, rate)
MACHINE: tuple[GateOf, ...] = (loop_lag, cpu, clock, little, deadlines, floor)
