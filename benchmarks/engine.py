"""What the whole path costs over llama.cpp called directly in one process: the same model, threads and prompts."""

import itertools
import json
import random
import statistics
import subprocess
import sys
import time

from bellhousing import AsyncClient
from benchmarks.figures import Figure, figure
from benchmarks.processes import running

TOKENS, PAIRS = 32, 31
PROMPT = "The capital of France is"


async def measure() -> list[Figure]:
    """Return the added TTFT and the added inter-token latency, in milliseconds."""
    first: list[float] = []
    between: list[float] = []
    command = [sys.executable, "-m", "benchmarks.direct"]
    with (
        running("llamacpp") as server,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as direct,
    ):
        try:
            _answer(direct)
            async with AsyncClient(server.address) as client:
                await _through(client)
                _straight(direct)
                for _ in range(PAIRS):
                    found = {}
                    for is_ours in random.sample([True, False], 2):
                        found[is_ours] = await _through(client) if is_ours else _straight(direct)
                    first.append((found[True][0] - found[False][0]) * 1000)
                    between.append((_gap(found[True]) - _gap(found[False])) * 1000)
        finally:
            direct.terminate()
    return [
        figure("TTFT added over llama.cpp called directly", first, at_most=2, unit=" ms"),
        figure("inter-token latency added over llama.cpp called directly", between, at_most=0.3, unit=" ms"),
    ]


async def _through(client: AsyncClient) -> list[float]:
    """Return the time of each token since the call, through the contract."""
    began, stamps = time.perf_counter(), list[float]()
    async for delta in client.generate(PROMPT, max_tokens=TOKENS, temperature=0, ignore_eos=True, coalescing=False):
        stamps += [time.perf_counter() - began] * delta.token_count
    return stamps


def _straight(direct: "subprocess.Popen[str]") -> list[float]:
    if direct.stdin is None:
        raise RuntimeError("the direct engine has no input")
    direct.stdin.write(json.dumps({"prompt": PROMPT, "tokens": TOKENS}) + "\n")
    direct.stdin.flush()
    return [float(stamp) for stamp in json.loads(_answer(direct))]


def _answer(direct: "subprocess.Popen[str]") -> str:
    line = direct.stdout.readline() if direct.stdout else ""
    if not line:
        raise RuntimeError("the direct engine ended without an answer")
    return line


def _gap(stamps: list[float]) -> float:
    """Return the median time between tokens, in seconds."""
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(stamps))
