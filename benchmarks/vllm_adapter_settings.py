"""What places on the device, rank and skew of the traffic change, each beside a server with the settings of all."""

import random
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.adapter_policies import zipf
from benchmarks.figures import Figure, figure
from benchmarks.over_vllm import check_installed
from benchmarks.vllm_traffic import Lora, Passed, Served, served, write_adapters

ADAPTERS, REQUESTS, ROUNDS = 200, 120, 5
BASE, RANK, SKEW = Lora(slots=8, rank=8), 8, 1.0


@dataclass(frozen=True, slots=True)
class Variant:
    """A server and its traffic; the fields are what all share unless they say otherwise."""

    lora: Lora = BASE
    skew: float = SKEW
    rank: int = field(default=RANK)
    """Of the adapters; `lora.rank` is the largest that the server takes."""


VARIANTS = {
    "4 places": Variant(Lora(4, 8)),
    "16 places": Variant(Lora(16, 8)),
    "32 places": Variant(Lora(32, 8)),
    "no host memory": Variant(Lora(8, 8, host_gib=0)),
    "a server for rank 64": Variant(Lora(8, 64)),
    "adapters of rank 64": Variant(Lora(8, 64), rank=64),
    "skew 0.7": Variant(skew=0.7),
    "skew 1.3": Variant(skew=1.3),
}


async def measure() -> list[Figure]:
    """Return, of each variant, tokens a second over those of the base, and the loads of a request."""
    check_installed()
    with tempfile.TemporaryDirectory() as folder:
        roots = {rank: Path(folder) / str(rank) for rank in {RANK, *(v.rank for v in VARIANTS.values())}}
        for rank, path in roots.items():
            path.mkdir()
            await write_adapters(path, ADAPTERS, rank)
        figures = list[Figure]()
        async with served(BASE, roots[RANK]) as base:
            for name, variant in VARIANTS.items():
                figures += await _beside(base, name, variant, roots[variant.rank])
                print(f"{name}: done", file=sys.stderr)
        return figures


async def _beside(base: Served, name: str, variant: Variant, roots: Path) -> list[Figure]:
    async with AsyncExitStack() as stack:
        is_base = (variant.lora, variant.rank) == (BASE, RANK)
        other = base if is_base else await stack.enter_async_context(served(variant.lora, roots))
        arms = {"base": (base, SKEW), "variant": (other, variant.skew)}
        rounds = [await _round(arms, number) for number in range(ROUNDS + 1)][1:]
    return [
        figure(f"tokens/s over the base, {name}", [r["variant"].rate / r["base"].rate for r in rounds]),
        figure(f"loads of a request, {name}", [r["variant"].loads / REQUESTS for r in rounds]),
        figure(f"requests that failed, {name}", [r["variant"].failed for r in rounds], at_most=0),
    ]


async def _round(arms: dict[str, tuple[Served, float]], number: int) -> dict[str, Passed]:
    found = dict[str, Passed]()
    for name in random.sample(list(arms), len(arms)):
        server, skew = arms[name]
        trace = [str(drawn + 1) for drawn in zipf(number, skew)[:REQUESTS]]
        found[name] = await server.take(trace, number)
    return found
