"""What an author needs to test a backend: a real server around it, and the promises every backend makes.

`serving` needs nothing but bellhousing; `BackendSuite` needs pytest and pytest-asyncio.
"""

import sys
from typing import TYPE_CHECKING, Any

from bellhousing.testing.serving import Served, serving

if TYPE_CHECKING:
    from bellhousing.testing.suite import BackendSuite

__all__ = ["BackendSuite", "Served", "serving"]

if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite("bellhousing.testing.suite", "bellhousing.testing.probe")


def __getattr__(name: str) -> Any:
    """Import the suite when it is first asked for: pytest is no dependency of ours."""
    if name == "BackendSuite":
        from bellhousing.testing.suite import BackendSuite

        return BackendSuite
    raise AttributeError(f"module 'bellhousing.testing' has no attribute {name!r}")
