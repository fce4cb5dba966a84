"""D06: without a seed outputs differ. The inverse control of the checks that want them equal."""

from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

TIMES = 8
LENGTH = 24
TEMPERATURE = 1.0
"""Where outputs of a language model differ and are still its language: an engine may end on what is no UTF-8."""
LEAST_TOKENS = 8
"""Shorter outputs may agree by chance: two that end at once are both empty."""


@check(
    "D06",
    title="The same request at temperature 1 without a seed gives another output each time, from another seed",
    clause="bellhousing.v1.Sampling.seed",
    profile="determinism",
    tier="standard",
    needs=("sampling.temperature", "sampling.max_tokens"),
    finds="two equal outputs among eight, or two equal seeds: a seed that is fixed, or drawn from a coarse clock",
    seconds=240,
)
async def unseeded_outputs_differ(probe: Probe) -> None:
    """Repeat one request, one at a time and all at once. By chance two outputs of a language model never agree here."""
    for at_once in (1, TIMES) * probe.size(smoke=1, standard=2):
        request = probe.request(max_tokens=LENGTH, temperature=TEMPERATURE)
        runs = await probe.run_all([request] * TIMES, at_once=at_once)
        texts = [run.text() for run in runs if run.tokens() >= LEAST_TOKENS]
        if len(texts) > 1:
            probe.equal(f"distinct texts of {len(texts)}", found=len(set(texts)), expected=len(texts))
        if probe.supports("sampling.seed"):
            seeds = {run.started.effective.seed for run in runs}
            probe.equal(f"distinct seeds of {TIMES} in Started", found=len(seeds), expected=TIMES)
