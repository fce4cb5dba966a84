"""D01: the same seed gives the same output."""

from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

TIMES = 10


@check(
    "D01",
    title="The same request with the same seed gives the same output, ten times",
    clause="bellhousing.v1.Sampling.seed",
    profile="determinism",
    tier="standard",
    needs=("sampling.seed", "sampling.temperature", "sampling.max_tokens", "determinism"),
    finds="one different token in one of ten repetitions",
)
async def same_seed_gives_the_same_output(probe: Probe) -> None:
    """Repeat seeded draws; where batch invariance is declared, all at once. The prompt is in the prefix cache (D03)."""
    at_once = TIMES if probe.supports("batch_invariance") else 1
    for _ in range(probe.size(smoke=1, standard=4)):
        request = probe.request(max_tokens=24, temperature=1.0, seed=probe.seed())
        await probe.fill_cache(request)
        runs = await probe.run_all([request] * TIMES, at_once=at_once)
        for place, run in enumerate(runs[1:], 2):
            probe.equal(f"text of repetition {place}", found=run.text(), expected=runs[0].text())
            probe.equal(f"ids of repetition {place}", found=run.ids(), expected=runs[0].ids())
        probe.equal("seed in force", found=runs[0].started.effective.seed, expected=request.sampling.seed)
