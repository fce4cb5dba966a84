"""What the whole path costs over llama.cpp called directly in one process: the same model, threads and prompts."""

import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from bellhousing import AsyncClient
from bellhousing.v1 import inference_pb2 as pb
from benchmarks.figures import Figure, figure
from benchmarks.processes import running
from benchmarks.servers import write_messages

PROMPT = "The"
"""One token: what the path adds does not depend on the prompt, and the noise of a long prefill would hide it."""
FIRST_ROUNDS, GAP_ROUNDS, GAP_TOKENS = 301, 151, 32

Arm = Callable[[int], Awaitable[list[float]]]
"""Answers with so many tokens and returns the time of each since the call, in seconds."""


async def measure() -> list[Figure]:
    """Return the added TTFT, what gRPC alone takes, and the added inter-token latency, in milliseconds."""
    async with AsyncExitStack() as stack:
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "messages"
        direct = stack.enter_context(_direct())
        ours = stack.enter_context(running("llamacpp"))
        client = await stack.enter_async_context(AsyncClient(ours.address))
        write_messages(file, [pb.GenerateResponse(delta=pb.Delta(text=" ", token_count=1)).SerializeToString()])
        bare = stack.enter_context(running("bare", str(file)))
        nothing = await stack.enter_async_context(AsyncClient(bare.address))
        arms: dict[str, Arm] = {
            "ours": lambda tokens: _through(client, tokens),
            "direct": lambda tokens: _straight(direct, tokens),
            "bare": lambda tokens: _through(nothing, tokens),
        }
        first = [{name: found[name][0] * 1000 for name in arms} for found in await _rounds(arms, FIRST_ROUNDS, 1)]
        del arms["bare"]
        gaps = await _rounds(arms, GAP_ROUNDS, GAP_TOKENS)
    return [
        figure(
            "TTFT added over llama.cpp called directly", [f["ours"] - f["direct"] for f in first], at_most=2, unit=" ms"
        ),
        figure("the same client's TTFT from a bare gRPC server without engine", [f["bare"] for f in first], unit=" ms"),
        figure(
            "inter-token latency added over llama.cpp called directly",
            [(_gap(found["ours"]) - _gap(found["direct"])) * 1000 for found in gaps],
            at_most=0.3,
            unit=" ms",
        ),
    ]


async def _rounds(arms: dict[str, Arm], rounds: int, tokens: int) -> list[dict[str, list[float]]]:
    """Return the stamps of every arm for each round, the arms in random order; a first round warms up."""
    found = [
        {name: await arms[name](tokens) for name in random.sample(list(arms), len(arms))} for _ in range(rounds + 1)
    ]
    return found[1:]


@contextmanager
def _direct() -> Iterator["subprocess.Popen[str]"]:
    """Run llama.cpp without anything around it for the body."""
    command = [sys.executable, "-m", "benchmarks.direct"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            _answer(process)
            yield process
        finally:
            process.terminate()


async def _through(client: AsyncClient, tokens: int) -> list[float]:
    """Return the time of each token since the call, through the contract."""
    began, stamps = time.perf_counter(), list[float]()
    async for delta in client.generate(PROMPT, max_tokens=tokens, temperature=0, ignore_eos=True, coalescing=False):
        stamps += [time.perf_counter() - began] * delta.token_count
    return stamps


async def _straight(direct: "subprocess.Popen[str]", tokens: int) -> list[float]:
    if direct.stdin is None:
        raise RuntimeError("the direct engine has no input")
    direct.stdin.write(json.dumps({"prompt": PROMPT, "tokens": tokens}) + "\n")
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
