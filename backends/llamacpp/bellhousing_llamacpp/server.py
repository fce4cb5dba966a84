"""The embedded engine: llama.cpp's server inside this process, reachable over a private UNIX socket only."""

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bellhousing.errors import BellhousingError, ConfigurationError
from bellhousing_llamacpp.connection import Connection
from bellhousing_llamacpp.errors import NAME
from bellhousing_llamacpp.options import LlamaCppOptions

SILENT, ERRORS_ONLY = 0, 1
LAST_BYTES = 2_000
IDLE_SECONDS = 3.0
POLL_SECONDS = 0.02
FEW_SPINS = "1000"
_abandoned: list[Any] = []
"""Engines that were busy when they were closed: destroying one then would abort the process, which ends soon anyway."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How much the engine takes: sequences at once, tokens for each, tokens in a step, and GPUs to spread over."""

    sequences: int
    context_per_sequence: int
    batched_tokens: int
    pipeline: int = 1


class Server:
    """llama.cpp, loaded with `adapters`. `open` it, `close` it; `connection` is there in between."""

    connection: Connection

    def __init__(self, path: Path, shape: Shape, options: LlamaCppOptions, adapters: tuple[Path, ...] = ()) -> None:
        self.adapters = adapters
        self._path = path
        self._shape = shape
        self._options = options
        self._directory: Path | None = None
        self._engine: Any = None

    async def open(self) -> None:
        """Load the model. Raises `ConfigurationError` with the engine's own words."""
        self._directory = Path(tempfile.mkdtemp(prefix="bellhousing-"))
        socket, key = self._directory / "engine.sock", secrets.token_hex(16)
        self._engine = await asyncio.to_thread(self._load, socket, key)
        self.connection = Connection(socket, key)

    def _load(self, socket: Path, key: str) -> Any:
        import xllamacpp

        params = self._params(xllamacpp, socket, key)
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            # Asking for the reason lets the whole process talk, and an engine beside this one may be serving.
            reason = str(error) if self.adapters else _reason(xllamacpp, params, socket)
            raise ConfigurationError(
                f"llama.cpp cannot load {str(self._path)!r}: {reason}",
                reason="BAD_MODEL",
                backend=NAME,
            ) from error

    def _params(self, library: Any, socket: Path, key: str) -> Any:
        options, shape = self._options, self._shape
        params = library.CommonParams()
        params.model.path = str(self._path)
        params.n_parallel = shape.sequences
        params.n_ctx = shape.sequences * shape.context_per_sequence
        params.n_batch = shape.batched_tokens
        params.n_ubatch = min(options.micro_batch, shape.batched_tokens)
        params.cpuparams.n_threads = options.threads
        params.cpuparams_batch.n_threads = options.threads_batch or options.threads
        params.n_gpu_layers = options.gpu_layers
        params.no_kv_offload = not options.offload_kv
        params.flash_attn_type = {"auto": -1, "off": 0, "on": 1}[options.flash_attention]
        params.cache_type_k = getattr(library.ggml_type, f"GGML_TYPE_{options.cache_type_k.upper()}")
        params.cache_type_v = getattr(library.ggml_type, f"GGML_TYPE_{options.cache_type_v.upper()}")
        mode = library.llama_load_mode
        params.load_mode = mode.LLAMA_LOAD_MODE_MMAP if options.use_mmap else mode.LLAMA_LOAD_MODE_NONE
        split = library.llama_split_mode
        params.split_mode = split.LLAMA_SPLIT_MODE_LAYER if shape.pipeline > 1 else split.LLAMA_SPLIT_MODE_NONE
        # What has left its place comes back without a look at the adapter that it was computed with.
        params.cache_ram_mib = options.prefix_cache_mib if options.prefix_cache and not self.adapters else 0
        params.lora_adapters = [library.CommonAdapterLoraInfo(str(path), 0.0) for path in self.adapters]
        params.lora_init_without_apply = True
        # With a pool of KV cells shared by all, one long request makes all of them fail.
        params.kv_unified = False
        params.ctx_shift = False
        # Otherwise a context that does not fit into memory is made smaller without a word, after half a minute.
        params.fit_params = False
        # A chat that ends with the assistant is rendered as the template says, not left open for more of it.
        params.prefill_assistant = False
        # More would put generated text into the log: what the grammar library complains of quotes it.
        params.verbosity = SILENT
        params.hostnames = [str(socket)]
        params.api_keys = [key]
        params.n_threads_http = 2 * shape.sequences + 4
        params.endpoint_metrics = False
        params.ui = False
        return params

    async def close(self) -> None:
        """End all work and give everything back; safe to call twice."""
        engine, self._engine = self._engine, None
        if engine is not None:
            self.connection.abort()
            if await self._becomes_idle():
                last = [engine]
                del engine
                await asyncio.to_thread(last.clear)  # its destructor takes a while
            else:
                _abandoned.append(engine)
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    async def _is_busy(self) -> bool:
        return any(slot["is_processing"] for slot in await self.connection.ask("/slots"))

    async def _becomes_idle(self) -> bool:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                while await self._is_busy():  # noqa: ASYNC110 - the engine tells only when it is asked
                    await asyncio.sleep(POLL_SECONDS)
        except (TimeoutError, BellhousingError):
            return False
        return True


def calm_threads(threads: int) -> None:
    """Have the engine's threads sleep early when they wait for each other and no processor is left over.

    Call it before the engine's library is imported for the first time: it reads this once.

    By default they spin for milliseconds. Where other processes want the processors too (the gRPC server is one), the
    thread they wait for does not run meanwhile: measured on two processors beside busy processes, 5 tokens/s instead of
    18, and as many as before on an idle machine.
    """
    if threads >= (os.cpu_count() or 1):
        # The value that GNU's OpenMP itself takes for more threads than processors.
        os.environ.setdefault("GOMP_SPINCOUNT", FEW_SPINS)


def _reason(library: Any, params: Any, socket: Path) -> str:
    """Return why the engine refuses to load: it says so on the standard error only, and only when asked to."""
    params.verbosity = ERRORS_ONLY
    socket.unlink(missing_ok=True)
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            library.Server(params)
        except RuntimeError as error:
            return next(iter(_complaints(file.fileno())), str(error))
        else:
            return "it failed once and then loaded; try again"
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _complaints(file: int) -> list[str]:
    """Return the errors in a log. A thread of its own writes them, so the first is waited for, a second at most."""
    for _ in range(int(1 / POLL_SECONDS)):
        said = os.pread(file, LAST_BYTES, 0).decode(errors="replace")
        lines = [line.partition(" E ")[2].strip() for line in said.splitlines() if " E " in line]
        if lines:
            return lines
        time.sleep(POLL_SECONDS)
    return []
