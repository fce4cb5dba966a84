"""The embedded engine: llama.cpp's server inside this process, reachable over a private UNIX socket only."""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from bellhousing.errors import BellhousingError, ConfigurationError, EngineUnavailable
from bellhousing_llamacpp.errors import error_of
from bellhousing_llamacpp.options import LlamaCppOptions

ERRORS_ONLY = 1
LINE_LIMIT = 1 << 24
"""A stream's line may hold the log probabilities of many alternatives."""
QUICK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How much the engine takes: sequences at once, tokens for each, tokens in a step."""

    sequences: int
    context_per_sequence: int
    batched_tokens: int


class Engine:
    """llama.cpp, loaded. `open` it, `close` it."""

    def __init__(self, path: Path, shape: Shape, options: LlamaCppOptions) -> None:
        self._path = path
        self._shape = shape
        self._options = options
        self._key = secrets.token_hex(16)
        self._directory: Path | None = None
        self._server: Any = None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Load the model. Raises `ConfigurationError` with the engine's reason on its standard error."""
        self._directory = Path(tempfile.mkdtemp(prefix="bellhousing-"))
        socket = self._directory / "engine.sock"
        try:
            self._server = await asyncio.to_thread(self._load, socket)
        except RuntimeError as error:
            raise ConfigurationError(
                f"llama.cpp cannot load {str(self._path)!r}: {error}", reason="BAD_MODEL", backend="llamacpp"
            ) from error
        # One connection a request: the engine's HTTP server now and then closes one that is being reused.
        self._session = aiohttp.ClientSession(
            "http://engine",
            connector=aiohttp.UnixConnector(str(socket), limit=0, force_close=True),
            headers={"Authorization": f"Bearer {self._key}"},
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=LINE_LIMIT,
            auto_decompress=False,
        )

    def _load(self, socket: Path) -> Any:
        import xllamacpp

        options, shape = self._options, self._shape
        params = xllamacpp.CommonParams()
        params.model.path = str(self._path)
        params.n_parallel = shape.sequences
        params.n_ctx = shape.sequences * shape.context_per_sequence
        params.n_batch = shape.batched_tokens
        params.n_ubatch = min(options.micro_batch, shape.batched_tokens)
        params.n_gpu_layers = options.gpu_layers
        params.cpuparams.n_threads = options.threads
        params.kv_unified = False
        params.ctx_shift = False
        params.fit_params = False
        params.verbosity = ERRORS_ONLY
        params.hostnames = [str(socket)]
        params.api_keys = [self._key]
        params.n_threads_http = shape.sequences + 4
        params.endpoint_metrics = True
        return xllamacpp.Server(params)

    async def close(self) -> None:
        """Give everything back; safe to call twice."""
        if self._session:
            await self._session.close()
            self._session = None
        if self._server is not None:
            self._server = None
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    async def ask(self, path: str, body: object | None = None) -> Any:
        """Return the JSON answer of a short request. Raises what the engine answers."""
        method, data = ("GET", None) if body is None else ("POST", msgspec.json.encode(body))
        try:
            async with (
                asyncio.timeout(QUICK_SECONDS),
                self._running().request(method, path, data=data) as response,
            ):
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _gone(error) from error
        if response.status != 200:
            raise error_of(response.status, answer)
        return msgspec.json.decode(answer)

    @asynccontextmanager
    async def stream(self, path: str, body: object) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a streamed answer; leaving it early ends the engine's work."""
        try:
            async with self._running().post(path, data=msgspec.json.encode(body)) as response:
                yield response
        except aiohttp.ClientError as error:
            raise _gone(error) from error

    def _running(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise EngineUnavailable("llama.cpp is not running", backend="llamacpp")
        return self._session


def _gone(error: Exception) -> BellhousingError:
    return EngineUnavailable(f"llama.cpp did not answer: {type(error).__name__}", backend="llamacpp")
