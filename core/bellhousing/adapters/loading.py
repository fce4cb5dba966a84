"""Giving an adapter's files to the engine, so that what it read is what was registered."""

import asyncio
import logging

from bellhousing.adapters.files import verify
from bellhousing.adapters.record import AdapterRecord
from bellhousing.adapters.supply import Supplied
from bellhousing.backend import AdapterFiles, Backend
from bellhousing.errors import BellhousingError, EngineFault, PreconditionFailed

logger = logging.getLogger(__name__)


async def load_verified(backend: Backend, record: AdapterRecord, supplied: Supplied) -> None:
    """Load an adapter; its files are looked at again afterwards, and unloaded unless nobody touched them meanwhile.

    Raises what the engine raises, and `PreconditionFailed`, ADAPTER_CHANGED.
    """
    await backend.load_adapter(AdapterFiles(record.name, str(supplied.path), record.digest, record.config_digest))
    try:
        found = await asyncio.to_thread(verify, record, supplied.path, supplied.rules, supplied.stamp)
        if supplied.stamp and found != supplied.stamp:  # other weights may have been there and gone again
            raise PreconditionFailed(
                f"adapter {record.name!r}: its files were written to while the engine read them",
                reason="ADAPTER_CHANGED",
                hint="Load it again once they are left alone.",
            )
    except BellhousingError:
        await backend.unload_adapter(record.name)
        raise


def as_ours(error: Exception) -> BellhousingError:
    """Return why an adapter could not be loaded, as those who wait for it are told."""
    if isinstance(error, BellhousingError):
        return error
    logger.error("an adapter could not be loaded", exc_info=error)
    return EngineFault(
        f"the backend failed with {type(error).__name__} while it loaded an adapter, see the server's log",
        reason="BACKEND_DEFECT",
    )
