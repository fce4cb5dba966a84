"""The HTTP client of an engine's own server. Only backends that need it import this; they bring httpx."""

import httpx

QUICK_SECONDS = 30.0
"""For answers that need no generation. A stream may be silent for as long as the server queues it: `STREAMING`."""
STREAMING = httpx.Timeout(QUICK_SECONDS, read=None)
HEALTH_SECONDS = 5.0
IDLE_SECONDS = 2.0
"""How long an idle connection is used again: some servers close theirs after 5 s, and no request may meet that."""


def engine_client(url: str, key: str = "") -> httpx.AsyncClient:
    """Return a client with no bound on connections, since core bounds the requests; `key` is a bearer token."""
    headers = {"Accept-Encoding": "identity"}  # frames are too small to compress
    if key:
        headers["Authorization"] = f"Bearer {key}"
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=IDLE_SECONDS)
    # Environment variables for proxies are not for an engine next door.
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=QUICK_SECONDS, limits=limits, trust_env=False)


async def answers(client: httpx.AsyncClient, path: str) -> bool:
    """Tell whether the server answers a path with 200 within a few seconds; one that hangs never does."""
    try:
        return (await client.get(path, timeout=HEALTH_SECONDS)).status_code == 200
    except httpx.HTTPError:
        return False
