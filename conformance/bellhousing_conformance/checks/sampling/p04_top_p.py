"""P04: `top_p` keeps the smallest set that reaches the mass."""

from bellhousing_conformance.check import check
from bellhousing_conformance.places import Setting, judge_of, observe_places
from bellhousing_conformance.probe import Probe

VALUES = (0.5, 0.8)
SETTINGS = [Setting(f"top_p={value:g}", (("top_p", value),)) for value in VALUES]


@check(
    "P04",
    title="top_p keeps the smallest set that reaches the mass, and leaves their odds alone",
    clause="bellhousing.v1.Sampling.top_p",
    profile="sampling",
    tier="standard",
    needs=("sampling.top_p", "sampling.temperature", "sampling.max_tokens", "logprobs.top", "token_ids"),
    judge=judge_of(SETTINGS),
    statistic="zero draws outside what is kept (bound 3/n), then a G-test of places in the cumulative probabilities",
    two_stage=True,
    finds="one token drawn outside the set; odds inside it that differ by the w printed",
    seconds=240,
)
async def top_p_keeps_what_it_says(probe: Probe) -> None:
    """Draw along texts, with the model's log probabilities at each place.

    Places where the mass comes within a thousandth of the bound are left out: rounding decides them.
    """
    for setting, value in zip(SETTINGS, VALUES, strict=True):
        await observe_places(probe, setting.name, probe.size(smoke=256, standard=1000), top_p=value)
