"""What holds for all tests."""

import os

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's affair, and that of the tests beside it.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# New examples are for people who can look into what they find: CI judges the same ones each time.
settings.register_profile("ci", settings.get_profile("any machine"), derandomize=True)
settings.load_profile("ci" if "BELLHOUSING_CI_RUN" in os.environ else "any machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where tests run beside each other, spread the slow ones over the first two thirds, so that none is left alone."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    if not hasattr(config, "workerinput") or not slow:
        return
    others = [item for item in items if not item.get_closest_marker("slow")]
    step = max(1, len(others) * 2 // 3 // len(slow))
    for place, item in enumerate(slow):
        others.insert(place * (step + 1), item)
    items[:] = others
