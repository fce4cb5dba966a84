"""The Python client: the same names, synchronous and asynchronous."""

from bellhousing.client.aio import AsyncClient, AsyncStream
from bellhousing.client.connection import Tls
from bellhousing.client.retry import RetryPolicy
from bellhousing.client.sync import Client, Stream

__all__ = ["AsyncClient", "AsyncStream", "Client", "RetryPolicy", "Stream", "Tls"]
