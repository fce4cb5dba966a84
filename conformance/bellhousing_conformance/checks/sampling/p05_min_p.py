"""P05: `min_p` keeps the tokens as probable as asked for, relative to the best."""

from bellhousing_conformance.check import check
from bellhousing_conformance.places import Setting, judge_of, observe_places
from bellhousing_conformance.probe import Probe

VALUES = (0.1, 0.3)
SETTINGS = [Setting(f"min_p={value:g}", (("min_p", value),)) for value in VALUES]


@check(
    "P05",
    title="min_p keeps the tokens as probable as asked for, relative to the best, and leaves their odds alone",
    clause="bellhousing.v1.Sampling.min_p",
    profile="sampling",
    tier="standard",
    needs=("sampling.min_p", "sampling.temperature", "sampling.max_tokens", "logprobs.top", "token_ids"),
    judge=judge_of(SETTINGS),
    statistic="zero draws outside what is kept (bound 3/n), then a G-test of places in the cumulative probabilities",
    two_stage=True,
    finds="one token drawn below the bound; odds above it that differ by the w printed",
    seconds=240,
)
async def min_p_keeps_what_it_says(probe: Probe) -> None:
    """Draw along texts, with the model's log probabilities at each place."""
    for setting, value in zip(SETTINGS, VALUES, strict=True):
        await observe_places(probe, setting.name, probe.size(smoke=256, standard=1000), min_p=value)
