"""The suite passes a backend that keeps its promises, and each check fails one that breaks its own."""

from typing import ClassVar

import pytest

from bellhousing.testing import BackendSuite
from bellhousing_simulator.backend import IsolatedSimulatorBackend, SimulatorBackend
from tests.core.testing.saboteurs import SABOTEURS, Bare

CHECKS = sorted(name for name in vars(BackendSuite) if name.startswith("test_"))


class TestSimulator(BackendSuite):
    """The simulator in the server's own process."""

    backend = SimulatorBackend


class TestIsolatedSimulator(BackendSuite):
    """The simulator in a process of its own."""

    backend = IsolatedSimulatorBackend


class Sabotaged(BackendSuite):
    """Fails fast."""

    options: ClassVar = {"end_probability": 0.0, "max_running": 2}
    seconds = 0.5


@pytest.mark.parametrize("check", CHECKS)
async def test_each_check_fails_a_backend_that_breaks_its_promise(check: str) -> None:
    suite = type("Broken", (Sabotaged,), {"backend": SABOTEURS[check.removeprefix("test_")]})()
    with pytest.raises(Exception) as failed:  # noqa: PT011 - what a broken backend raises is its own affair
        await getattr(suite, check)()
    assert not isinstance(failed.value, AttributeError | NameError | TypeError)


def test_no_saboteur_is_left_without_a_check() -> None:
    assert sorted(f"test_{name}" for name in SABOTEURS) == CHECKS


def test_overriding_a_check_fails_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match="Lenient overrides test_max_tokens_is_exact"):
        type("Lenient", (BackendSuite,), {"test_max_tokens_is_exact": lambda self: None})


def test_a_mixin_cannot_override_a_check_either() -> None:
    mixin = type("Mixin", (), {"test_stop_may_be_called_twice": None})
    with pytest.raises(TypeError, match="overrides test_stop_may_be_called_twice"):
        type("Lenient", (mixin, BackendSuite), {})


def test_a_subclass_may_add_tests() -> None:
    assert type("More", (BackendSuite,), {"test_more": lambda self: None})


async def test_what_is_not_declared_is_skipped() -> None:
    suite = type("Bare", (BackendSuite,), {"backend": Bare})()
    with pytest.raises(pytest.skip.Exception, match=r"sampling\.n is not declared"):
        await suite.test_several_sequences_are_told_apart()
