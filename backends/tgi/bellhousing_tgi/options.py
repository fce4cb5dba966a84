"""Options of the TGI backends."""

from pydantic import Field

from bellhousing.attachment import Attachment


class AttachedTgiOptions(Attachment):
    """Which router, and its adapters. How it batches and is spread over devices is its own affair."""

    url: str = Field("http://127.0.0.1:3000", description="Address of the router.")
    adapters: tuple[str, ...] = Field(
        (), description="Names of the adapters it was started with: a router lists them nowhere."
    )
