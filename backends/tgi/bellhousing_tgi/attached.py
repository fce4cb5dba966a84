"""A TGI router that someone else started, as a backend."""

import asyncio
from collections.abc import Callable
from typing import ClassVar

from bellhousing.attachment import REASONS, check_settings, effective_settings
from bellhousing.backend import ModelInfo
from bellhousing.events import Progress
from bellhousing_tgi.api import Api
from bellhousing_tgi.connection import connected
from bellhousing_tgi.description import described
from bellhousing_tgi.options import AttachedTgiOptions
from bellhousing_tgi.router import RouterBackend


class AttachedTgiBackend(RouterBackend):
    """Serves the model of a running router."""

    name: ClassVar[str] = "tgi-attached"
    Options = AttachedTgiOptions
    needs_model: ClassVar[bool] = False

    async def start(self, progress: Callable[[Progress], None]) -> ModelInfo:
        """Ask the router what it is. Raises `ConfigurationError` or `EngineUnavailable`."""
        check_settings(self.spec.settings)
        progress(Progress("attaching"))
        adapters = dict.fromkeys(self.options.adapters, "")
        api = Api(self.options.url, await asyncio.to_thread(self.options.key), self.name)
        self._connection = await connected(api, adapters, self.name)
        router = self._connection.router
        most = self.spec.settings.batching.max_sequences or router.limits.max_concurrent_requests
        return described(router, effective_settings(most), REASONS, adapters)
