"""A real vLLM server, as its users start it; for tests that run in vLLM's own environment."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from bellhousing.process.ports import free_port

READY_SECONDS = 200
VARIABLES = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
}


@contextmanager
def vllm_server(model: Path, context: int) -> Iterator[str]:
    """Yield the address of a server of one model, `smollm2`, that takes adapters."""
    port = free_port()
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--port", str(port),
        "--host", "127.0.0.1", "--served-model-name", "smollm2", "--enforce-eager", "--dtype", "float32",
        "--max-model-len", str(context),
        "--kv-cache-memory-bytes", str(2**28), "--enable-lora", "--max-loras", "2", "--enable-prompt-tokens-details",
    ]  # fmt: skip
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=os.environ | VARIABLES, stdout=quiet, stderr=quiet) as server:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_ready(url, server)
            yield url
        finally:
            end(server.pid)


def _wait_ready(url: str, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        assert server.poll() is None, "the vLLM server ended by itself"
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health").status_code == 200:
                return
        time.sleep(0.5)
    raise AssertionError("the vLLM server did not get ready")


def end(pid: int) -> None:
    """End a process and all that it started."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    family[0].terminate()
    for left in psutil.wait_procs(family, 10)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
