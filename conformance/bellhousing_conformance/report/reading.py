"""What is read off a report, in words: every form of it says the same, and none calls success what is not."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from bellhousing_conformance.check import CONFORMANT
from bellhousing_conformance.gates import MOST_CPU_SHARE, MOST_LAG_SECONDS, MOST_STALL_SECONDS
from bellhousing_conformance.report.model import ConformanceReport, Profile, Result
from bellhousing_conformance.verdict import Figure, Frozen, Status

Tone = Literal["good", "bad", "trouble", "open", "note", "empty"]
"""How a word is to be taken: `open` is undecided, `note` neither success nor failure."""

TONES: dict[str, Tone] = {
    "PASS": "good",
    "FAIL": "bad",
    "XPASS": "bad",
    "ERROR": "trouble",
    "PARTIAL": "open",
    "INCONCLUSIVE": "open",
    "NOT_RUN": "open",
    "SKIPPED": "open",
    "XFAIL": "open",
    "MEASURED": "note",
    "NOT_SUPPORTED": "note",
    "DIVERGENCE": "note",
    "": "empty",
}
FAILURES = (Status.FAIL, Status.XPASS, Status.ERROR)
UNDECIDED = (Status.INCONCLUSIVE, Status.NOT_RUN, Status.SKIPPED, Status.XFAIL)
NOTES = (Status.DIVERGENCE, Status.NOT_SUPPORTED)
SHOWN_IDS = 8


class Standing(Frozen):
    """Whether the target is conformant, and why: a sentence each."""

    word: Literal["Conformant", "Not conformant", "Conformance not shown"]
    tone: Tone
    reasons: tuple[str, ...]


class Cell(Frozen):
    """A profile of a report: its verdict, and how many of its checks passed. An empty verdict: no check of it."""

    verdict: str
    tone: Tone
    passed: int = 0
    total: int = 0
    rest: str = ""


class Group(Frozen):
    """Results that have a status and a reason in common."""

    status: Status
    reason: str
    results: tuple[Result, ...]


class GateLine(Frozen):
    """A gate over the checks of a run that ran alone: the worst found, the limit, and the checks that broke it."""

    name: str
    worst: str
    most: str
    broken: tuple[str, ...]
    checks: int


def gates(report: ConformanceReport) -> list[GateLine]:
    """Return the gates; none where no check that ran alone was observed."""
    told = [(r.id, a.gates) for r in report.checks for a in r.attempts if a.gates is not None]
    if not told:
        return []
    number = len({check for check, _ in told})
    lags = [(check, found.lag_p99) for check, found in told]
    stalls = [(check, found.lag_most) for check, found in told]
    shares = [(check, found.cpu_share) for check, found in told]
    return [
        _gate_line("loop lag, p99", lags, MOST_LAG_SECONDS, lambda value: f"{value * 1000:.0f} ms", number),
        _gate_line("longest stall", stalls, MOST_STALL_SECONDS, lambda value: f"{value * 1000:.0f} ms", number),
        _gate_line("client CPU, of one core", shares, MOST_CPU_SHARE, lambda value: f"{value:.0%}", number),
    ]


def _gate_line(
    name: str, told: Sequence[tuple[str, float]], most: float, text: Callable[[float], str], checks: int
) -> GateLine:
    broken = tuple(dict.fromkeys(check for check, value in told if value > most))
    return GateLine(name=name, worst=text(max(v for _, v in told)), most=text(most), broken=broken, checks=checks)


def standing(report: ConformanceReport) -> Standing:
    """Return what a report says about conformance, with every reason against it."""
    if report.conformant:
        reason = f"every MUST of {', '.join(CONFORMANT)} passed or is not supported"
        return Standing(word="Conformant", tone="good", reasons=(reason,))
    profiles = {profile.name: profile for profile in report.profiles}
    reasons = [report.failure] if report.failure else []
    reasons += [_against(name, profiles.get(name), report.checks) for name in CONFORMANT if not _passed(profiles, name)]
    if report.left_out:
        count, named = len(report.left_out), ids(report.left_out)
        reasons.append(f"{plural(count, 'check')} that conformance asks for not in this run: {named}")
    is_failed = any(name in profiles and profiles[name].verdict == "FAIL" for name in CONFORMANT)
    if is_failed:
        return Standing(word="Not conformant", tone="bad", reasons=tuple(reasons))
    return Standing(word="Conformance not shown", tone="open", reasons=tuple(reasons))


def cell(report: ConformanceReport, name: str) -> Cell:
    """Return a profile of a report as a cell of the matrix.

    A profile of which nothing was seen to hold is no success: its cell says NOT_SUPPORTED, or PARTIAL.
    """
    profile = next((each for each in report.profiles if each.name == name), None)
    if profile is None:
        return Cell(verdict="", tone="empty")
    passed, total = profile.counts.get(Status.PASS, 0), sum(profile.counts.values())
    verdict: str = profile.verdict
    if verdict == "PASS" and not passed and Status.DIVERGENCE not in profile.counts:
        verdict = _unpassed(profile)
    others: dict[Status, int] = {status: count for status, count in profile.counts.items() if status is not Status.PASS}
    return Cell(verdict=verdict, tone=TONES[verdict], passed=passed, total=total, rest=counted(others))


def _unpassed(profile: Profile) -> str:
    """Return what to call a profile in which nothing failed and nothing passed."""
    seen = set(profile.counts) - {Status.NOT_SUPPORTED}
    if not seen:
        return "NOT_SUPPORTED"
    return "MEASURED" if seen == {Status.MEASURED} else "PARTIAL"


def with_status(results: Sequence[Result], statuses: Sequence[Status]) -> list[Result]:
    """Return the results of some statuses: every MUST first, then in the order of the statuses."""
    found = [result for result in results if result.status in statuses]
    return sorted(found, key=lambda result: (result.requirement != "MUST", statuses.index(result.status)))


def groups(results: Sequence[Result], statuses: Sequence[Status]) -> list[Group]:
    """Return the results of some statuses, those together that share a status and a reason."""
    found: dict[tuple[Status, str], list[Result]] = {}
    for result in with_status(results, statuses):
        found.setdefault((result.status, "; ".join(problems(result))), []).append(result)
    return [Group(status=key[0], reason=key[1], results=tuple(value)) for key, value in found.items()]


def detectable(result: Result) -> str:
    """Return the smallest effect that the sample of the deciding attempt would have shown, as far as it was computed.

    Of a check that counts failures it is the rate that its sample does not exclude. What a check is made to find is no
    answer: the sample may have been smaller.
    """
    told = [figure for figure in result.figures if "minimum detectable" in figure.name]
    if told:
        return ", ".join(figure_text(figure) for figure in told)
    bound = next((figure.high for figure in result.figures if figure.name == "failure_rate"), None)
    if bound is None:
        return "not computed for this sample"
    if bound >= 1:
        return "nothing: the sample is too small for a bound"
    return f"a failure in more than {bound * 100:.3g} % of cases (95 %)"


def problems(result: Result) -> list[str]:
    """Return what was wrong, each sentence once, with how often it came."""
    return [f"{text} ({count} times)" if count > 1 else text for text, count in Counter(result.problems).items()]


def sizes(result: Result) -> str:
    """Return the sample sizes of the deciding attempt."""
    named = [f for f in result.figures if f.name in ("n", "pairs") or f.name.endswith((" n", " pairs"))]
    return ", ".join(figure_text(figure) for figure in named)


def counted(counts: Mapping[Status, int]) -> str:
    """Return counts by status in words."""
    return ", ".join(f"{count} {word(status)}" for status, count in ordered(counts).items())


def counts(report: ConformanceReport) -> dict[Status, int]:
    """Return how many checks of a report have each status."""
    return ordered(Counter(result.status for result in report.checks))


def ordered(counts: Mapping[Status, int]) -> dict[Status, int]:
    """Return counts in the order of the statuses: what passed, what failed, what is open, what is neither."""
    order = list(TONES)
    return dict(sorted(counts.items(), key=lambda pair: order.index(pair[0])))


def title(report: ConformanceReport) -> str:
    """Return what to call the subject: the model and the backend, or the address when it said neither."""
    subject = report.subject
    return f"{subject.model} on {subject.backend}" if subject.model and subject.backend else subject.address


def word(status: str) -> str:
    """Return a status as people read it."""
    return status.replace("_", " ")


def ids(names: Sequence[str]) -> str:
    """Return some ids, and how many there are beside them."""
    more = len(names) - SHOWN_IDS
    return ", ".join(names[:SHOWN_IDS]) + (f" and {more} more" if more > 0 else "")


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def number(value: float) -> str:
    """Return a number with four significant digits; whole ones in full."""
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e12 else f"{value:.4g}"


def interval(figure: Figure) -> str:
    """Return the interval of a figure; empty when it has none."""
    if figure.low is None and figure.high is None:
        return ""
    low = "-∞" if figure.low is None else f"{figure.low:.3g}"
    high = "∞" if figure.high is None else f"{figure.high:.3g}"
    return f"[{low}, {high}]"


def figure_text(figure: Figure) -> str:
    """Return a figure with its interval, as people read it."""
    return f"{figure.name} {number(figure.value)} {interval(figure)}".strip()


def duration(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _passed(profiles: dict[str, Profile], name: str) -> bool:
    return name in profiles and profiles[name].verdict == "PASS"


def _against(name: str, profile: Profile | None, results: Sequence[Result]) -> str:
    if profile is None:
        return f"{name}: no check of it in this run"
    musts = [
        r for r in results if r.profile == name and r.requirement == "MUST" and TONES[r.status] not in ("good", "note")
    ]
    found: dict[str, list[str]] = {}
    for result in with_status(musts, (*FAILURES, *UNDECIDED)):
        found.setdefault(word(result.status), []).append(result.id)
    return f"{name}: " + "; ".join(f"{status} {ids(named)}" for status, named in found.items())
