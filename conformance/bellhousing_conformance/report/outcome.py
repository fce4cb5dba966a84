"""From results to profiles, conformance and the exit code."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from bellhousing_conformance.check import CONFORMANT, PROFILES, Check
from bellhousing_conformance.report.model import Profile, Result
from bellhousing_conformance.verdict import Status, Tier

PASSED, FAILED, USAGE, INFRASTRUCTURE, PARTIAL = range(5)
"""The exit codes."""

UNDECIDED = frozenset({Status.SKIPPED, Status.NOT_RUN, Status.INCONCLUSIVE})
BROKEN = frozenset({Status.FAIL, Status.XPASS})
CONFORMANT_TIER: Tier = "standard"
"""The tier whose checks conformance asks for: a smoke run cannot show it."""


def profiles_of(results: Sequence[Result]) -> tuple[Profile, ...]:
    """Return the profiles that have a check, in order."""
    return tuple(
        [_profile(name, [r for r in results if r.profile == name]) for name in PROFILES if _has(name, results)]
    )


def left_out(known: Iterable[Check], chosen: Iterable[Check]) -> tuple[str, ...]:
    """Return the checks that conformance asks for and that are not among the chosen."""
    ids = {check.id for check in chosen}
    asked = [c for c in known if c.profile in CONFORMANT and c.requirement == "MUST" and c.is_in(CONFORMANT_TIER)]
    return tuple([check.id for check in asked if check.id not in ids])


def is_conformant(profiles: Iterable[Profile], missing: Sequence[str]) -> bool:
    """Tell whether every profile that conformance asks for was run and passed, and no check of it was left out."""
    verdicts = {profile.name: profile.verdict for profile in profiles}
    return not missing and all(verdicts.get(name) == "PASS" for name in CONFORMANT)


def exit_code(results: Sequence[Result], *, failure: str) -> int:
    """Return the exit code of a run.

    A failure of the target outweighs everything: it was seen, whatever could not be looked at. Then what kept the
    suite from judging, then what it could not decide. A SHOULD never decides.
    """
    musts = [result.status for result in results if result.requirement == "MUST"]
    if any(status in BROKEN for status in musts):
        return FAILED
    if failure or Status.ERROR in (result.status for result in results):
        return INFRASTRUCTURE
    if not musts or any(status in UNDECIDED for status in musts):
        return PARTIAL
    return PASSED


def _has(name: str, results: Sequence[Result]) -> bool:
    return any(result.profile == name for result in results)


def _profile(name: str, results: Sequence[Result]) -> Profile:
    musts = {result.status for result in results if result.requirement == "MUST"}
    verdict: Literal["PASS", "FAIL", "PARTIAL", "ERROR"] = "PASS"
    if musts & BROKEN:
        verdict = "FAIL"
    elif Status.ERROR in musts:
        verdict = "ERROR"
    elif musts & (UNDECIDED | {Status.XFAIL}):  # a known failure is excused, not passed
        verdict = "PARTIAL"
    return Profile(name=name, verdict=verdict, counts=dict(Counter(result.status for result in results)))
