"""Bellhousing: one gRPC contract for every LLM engine."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bellhousing.client import AsyncClient, Client, RetryPolicy, Tls

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "RetryPolicy", "Tls", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the client when it is first asked for: backends and plugins need none of it."""
    if name in __all__:
        from bellhousing import client

        return getattr(client, name)
    raise AttributeError(f"module 'bellhousing' has no attribute {name!r}")
