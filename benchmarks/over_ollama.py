"""What the whole path costs over Ollama's own HTTP streaming API: the same engine process, the arms interleaved."""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable

from benchmarks.figures import Figure, figure
from benchmarks.ollama_settings import Ollama, ollama, own, through
from benchmarks.servers import THREADS

LEVELS = (1, 4, 8)
TOKENS, ROUNDS, FIRST_ROUNDS = 64, 15, 101

Arm = Callable[[int, int], Awaitable[list[float]]]
"""Answers a numbered prompt with so many tokens and returns the time of each since the call, in seconds."""


async def measure() -> list[Figure]:
    """Return tokens/s relative to Ollama's own API at each number of streams, and the TTFT added, in milliseconds."""
    async with ollama(max(LEVELS), threads=THREADS) as engine:
        arms = _arms(engine)
        figures: list[Figure] = []
        for streams in LEVELS:
            rounds = [await _round(arms, streams, TOKENS) for _ in range(ROUNDS + 1)][1:]
            at = f"{streams} stream{'s' if streams > 1 else ''}"
            ratios = [_rate(found["ours"]) / _rate(found["own"]) for found in rounds]
            figures.append(figure(f"tokens/s over Ollama's own API, {at}", ratios, at_least=0.97))
            print(f"{at}: done", file=sys.stderr)
        first = [await _round(arms, 1, 1) for _ in range(FIRST_ROUNDS + 1)][1:]
    added = [(found["ours"][0][0] - found["own"][0][0]) * 1000 for found in first]
    return [*figures, figure("TTFT added over Ollama's own API, short requests", added, at_most=2, unit=" ms")]


def _arms(engine: Ollama) -> dict[str, Arm]:
    return {
        "ours": lambda number, tokens: through(engine.ours, number, tokens),
        "own": lambda number, tokens: own(engine, number, tokens),
    }


async def _round(arms: dict[str, Arm], streams: int, tokens: int) -> dict[str, list[list[float]]]:
    """Return the stamps of every stream of every arm, the arms in random order."""
    found = {}
    for name in random.sample(list(arms), len(arms)):
        found[name] = list(await asyncio.gather(*(arms[name](number, tokens) for number in range(streams))))
    return found


def _rate(streams: list[list[float]]) -> float:
    return sum(map(len, streams)) / max(stamps[-1] for stamps in streams)
