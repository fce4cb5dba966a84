"""llama.cpp called directly in one process: `python -m benchmarks.direct`. Each line of input is a prompt."""

import json
import sys
import time

import xllamacpp

from bellhousing.sources import resolve
from benchmarks.servers import MODEL, THREADS

SEQUENCES, CONTEXT, BATCH = 4, 4096, 512


def load() -> "xllamacpp.Server":
    """Return the engine with the settings that our backend uses."""
    params = xllamacpp.CommonParams()
    params.model.path = str(resolve(MODEL, lambda _: None))
    params.n_parallel = SEQUENCES
    params.n_ctx = SEQUENCES * CONTEXT
    params.n_batch = params.n_ubatch = BATCH
    params.cpuparams.n_threads = THREADS
    params.verbosity = 0
    params.port = 0
    return xllamacpp.Server(params)


def complete(server: "xllamacpp.Server", prompt: str, tokens: int) -> list[float]:
    """Return the time of each token since the call, in seconds."""
    stamps: list[float] = []
    began = time.perf_counter()

    def on_frame(frame: dict[str, object]) -> bool:
        if "choices" in frame:
            stamps.append(time.perf_counter() - began)
        return False

    body = {
        "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True, "cache_prompt": False,
        "ignore_eos": True,
    }  # fmt: skip
    server.handle_completions(body, on_frame)
    return stamps[:tokens]


def main() -> None:
    """Answer each line of input with the times of its tokens, as JSON."""
    server = load()
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(complete(server, asked["prompt"], asked["tokens"])), flush=True)


if __name__ == "__main__":
    main()
