"""The suite as pytest tests of a third party. Needs pytest.

Two lines make a test for each check::

    from bellhousing_conformance.testing import conformance
    test_conformance = conformance("127.0.0.1:50051")
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bellhousing_conformance.calls import Address
from bellhousing_conformance.cli.selection import selected
from bellhousing_conformance.report.model import Result
from bellhousing_conformance.runner import Plan, run
from bellhousing_conformance.targets.target import Target
from bellhousing_conformance.verdict import Status, Tier

GOOD = (Status.PASS, Status.DIVERGENCE, Status.MEASURED)
BAD = (Status.FAIL, Status.XPASS, Status.ERROR)


def conformance(
    target: Target | str, *, profiles: str = "", tier: Tier = "smoke", seed: int = 1
) -> Callable[[str, Path], None]:
    """Return a test with a parameter for each check. `target` is an address, or a `Target` with hooks.

    What a check could not decide skips its test, with the status as reason; an unreachable target fails it.
    """
    where = Target(Address(target)) if isinstance(target, str) else target
    checks = {check.id: check for check in selected(tier, profiles, ())}

    @pytest.mark.parametrize("check_id", checks)
    def test(check_id: str, tmp_path: Path) -> None:
        report = asyncio.run(run(where, Plan([checks[check_id]], tier, seed), tmp_path))
        _told(report.checks[0], report.failure)

    return test


def _told(result: Result, failure: str) -> None:
    text = "\n".join([f"{result.id} {result.status} (clause {result.clause})", *result.problems])
    if failure or result.status in BAD:
        pytest.fail(failure or text, pytrace=False)
    if result.status not in GOOD:
        pytest.skip(text)
