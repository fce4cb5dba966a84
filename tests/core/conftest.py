"""A real server on a loopback port, for every test that needs one."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from bellhousing import RetryPolicy
from bellhousing.testing import Served
from bellhousing.testing import serving as serve

NO_RETRY = RetryPolicy(attempts=1)
Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serving() -> Serve:
    """The context manager that serves one model, of the simulator unless told."""
    return _serve


def _serve(backend: str = "simulator", **settings: object) -> AbstractAsyncContextManager[Served]:
    return serve(backend, **settings)  # type: ignore[arg-type]
