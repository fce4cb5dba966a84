"""What places on the device, host memory, rank and skew change, beside a server with the settings of all."""

import random
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.adapter_policies import zipf
from benchmarks.figures import Figure, figure
from benchmarks.over_vllm import check_installed
from benchmarks.vllm_traffic import Lora, Passed, Served, served, write_adapters

ADAPTERS, REQUESTS, ROUNDS = 200, 100, 3


@dataclass(frozen=True, slots=True)
class Variant:
    """A server and its traffic; the defaults are those of the base. The adapters have the server's rank."""

    lora: Lora = Lora(slots=8, rank=8)  # noqa: RUF009 - it is frozen
    skew: float = 1.0


BASE = "the base"
VARIANTS = {
    BASE: Variant(),
    "4 places": Variant(Lora(slots=4, rank=8)),
    "32 places": Variant(Lora(slots=32, rank=8)),
    "no host memory": Variant(Lora(slots=8, rank=8, host_gib=0)),
    "rank 32": Variant(Lora(slots=8, rank=32)),
    "skew 0.7": Variant(skew=0.7),
    "skew 1.3": Variant(skew=1.3),
}


async def measure() -> list[Figure]:
    """Return, of each variant, tokens a second over those of the base, and the loads per request."""
    check_installed()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for rank in {variant.lora.rank for variant in VARIANTS.values()}:
            (folder / str(rank)).mkdir()
            await write_adapters(folder / str(rank), ADAPTERS, rank)
        servers = {
            lora: await stack.enter_async_context(served(lora, folder / str(lora.rank)))
            for lora in {variant.lora for variant in VARIANTS.values()}
        }
        rounds = list[dict[str, Passed]]()
        for number in range(ROUNDS + 1):
            rounds.append(await _round(servers, number))
            print(f"round {number}: done", file=sys.stderr)
    return [found for name in VARIANTS for found in _figures(name, rounds[1:])]


async def _round(servers: dict[Lora, Served], number: int) -> dict[str, Passed]:
    """Take the traffic of every variant, in random order."""
    found = dict[str, Passed]()
    for name in random.sample(list(VARIANTS), len(VARIANTS)):
        variant = VARIANTS[name]
        trace = [str(drawn + 1) for drawn in zipf(number, variant.skew)[:REQUESTS]]
        found[name] = await servers[variant.lora].take(trace, number)
    return found


def _figures(name: str, rounds: list[dict[str, Passed]]) -> list[Figure]:
    loads = figure(f"loads per request, {name}", [found[name].loads / REQUESTS for found in rounds])
    if name == BASE:
        failed = [sum(passed.failed for passed in found.values()) for found in rounds]
        return [figure("requests that failed, of all", failed, at_most=0), loads]
    return [figure(f"tokens/s over the base, {name}", [f[name].rate / f[BASE].rate for f in rounds]), loads]
