"""P03: `top_k` keeps the most probable tokens, as many as asked for."""

from bellhousing_conformance.check import check
from bellhousing_conformance.places import Setting, judge_of, observe_places
from bellhousing_conformance.probe import Probe

VALUES = (3, 10)
SETTINGS = [Setting(f"top_k={value:g}", (("top_k", value),)) for value in VALUES]


@check(
    "P03",
    title="top_k keeps the most probable tokens, as many as asked for, and leaves their odds alone",
    clause="bellhousing.v1.Sampling.top_k",
    profile="sampling",
    tier="standard",
    needs=("sampling.top_k", "sampling.temperature", "sampling.max_tokens", "logprobs.top", "token_ids"),
    judge=judge_of(SETTINGS),
    statistic="zero draws outside what is kept (bound 3/n), then a G-test of places in the cumulative probabilities",
    two_stage=True,
    finds="one token drawn beyond top_k; top_k one smaller, from about 1,000 draws",
    seconds=240,
)
async def top_k_keeps_what_it_says(probe: Probe) -> None:
    """Draw along texts, with the model's log probabilities at each place."""
    for setting, value in zip(SETTINGS, VALUES, strict=True):
        await observe_places(probe, setting.name, probe.size(smoke=256, standard=1000), top_k=value)
