"""A router that is there: its client, what it told of itself, and the requests that are at it."""

from collections.abc import Mapping

from bellhousing.errors import EngineUnavailable
from bellhousing.uses import Uses
from bellhousing_tgi.api import Api
from bellhousing_tgi.description import Router
from bellhousing_tgi.errors import RETRY_SECONDS, unreadable
from bellhousing_tgi.limits import Limits
from bellhousing_tgi.prompts import Prompts


class Connection:
    """One router. `adapters` are those that requests may name, name to digest; `uses` are the requests at it."""

    def __init__(self, api: Api, router: Router, prompts: Prompts, adapters: Mapping[str, str]) -> None:
        self.api = api
        self.router = router
        self.prompts = prompts
        self.adapters = dict(adapters)
        self.uses = Uses()


async def connected(api: Api, adapters: Mapping[str, str], backend: str) -> Connection:
    """Ask a router what it is, and close its client when that fails.

    Raises `EngineUnavailable` for one whose shards are not well.
    """
    try:
        return await _asked(api, adapters, backend)
    except BaseException:
        await api.close()
        raise


async def _asked(api: Api, adapters: Mapping[str, str], backend: str) -> Connection:
    info = await api.get("/info")
    if not await api.is_well():
        raise EngineUnavailable("the TGI router says that it is not well", backend=backend, retry_after=RETRY_SECONDS)
    try:
        limits = Limits.of(info)
        info["version"]
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable("`/info` of version 3", str(info), backend) from error
    prompts = await Prompts.of(api, backend)
    router = Router(info, limits, has_template=prompts.has_template, has_tokens=prompts.special is not None)
    return Connection(api, router, prompts, adapters)
