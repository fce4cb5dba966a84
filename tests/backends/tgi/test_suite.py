from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bellhousing.testing import BackendSuite, Served
from bellhousing.testing.probe import Probe, probing
from bellhousing_tgi import AttachedTgiBackend
from tests.backends.tgi.conftest import ADAPTERS, PROMPT, attached_to, scripted


class TestAttachedTgi(BackendSuite):
    """What core relies on, with a scripted router: it shows what is asked and read, not what TGI's models do."""

    backend = AttachedTgiBackend
    prompt = PROMPT

    @asynccontextmanager
    async def probing(self) -> AsyncIterator[Probe]:
        async with scripted().listening() as (http, _):
            options = {"url": http.url, "adapters": ADAPTERS}
            async with probing(self.backend, options, None, self.prompt, self.seconds) as probe:
                yield probe

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Served]:
        async with attached_to(scripted()) as attached:
            yield attached.served
