"""LP1: log probabilities are log probabilities."""

import math

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.check import check
from bellhousing_conformance.distributions import told_by
from bellhousing_conformance.probe import Probe

TOPS = (0, 1, 5)
ROUNDING = 1e-4
"""How far a sum of probabilities may be above 1."""


@check(
    "LP1",
    title="Log probabilities are finite, at most 0, sorted and of the drawn token; probabilities add up to at most 1",
    clause="bellhousing.v1.TokenLogprob",
    profile="logprobs",
    needs=("logprobs.top", "sampling.max_tokens"),
    finds="one log probability of the sample that is none, is missing, or is out of order",
)
async def log_probabilities_are_sound(probe: Probe) -> None:
    """Look at every entry of outputs with several numbers of alternatives."""
    for top in map(probe.alternatives, TOPS * probe.size(smoke=1, standard=4)):
        run = await probe.generate(max_tokens=8, logprobs=top)
        entries = run.logprobs()
        for delta in run.deltas():
            _match(probe, delta)
        for entry in entries:
            _examine(probe, entry, top)


def _match(probe: Probe, delta: pb.Delta) -> None:
    """Expect an entry for each token; of a character that is told as a whole, for its last token at most."""
    found = [entry.id for entry in delta.logprobs]
    if delta.token_count > 1 and not probe.supports("parts_of_characters"):
        most = delta.token_count
        probe.holds(len(found) <= most, f"expected at most {most} entries, found {len(found)}")
        return
    probe.equal("entries, one for each token", found=len(found), expected=delta.token_count)
    if probe.supports("token_ids"):
        probe.equal("ids of the entries", found=found, expected=list(delta.token_ids))


def _examine(probe: Probe, entry: pb.TokenLogprob, top: int) -> None:
    values = [each.logprob for each in entry.top]
    sound = all(math.isfinite(value) and value <= 0 for value in (entry.logprob, *values))
    probe.holds(sound, f"expected finite numbers of at most 0, found {entry.logprob} and {values}")
    probe.equal("alternatives, best first", found=values, expected=sorted(values, reverse=True))
    probe.equal("number of alternatives", found=len(values), expected=top)
    drawn = [each.logprob for each in entry.top if each.token == entry.token and each.id == entry.id]
    is_among_best = bool(values) and entry.logprob > values[-1]
    if drawn or is_among_best:
        probe.equal("the drawn token among the alternatives", found=drawn, expected=[entry.logprob])
    total = math.fsum(math.exp(value) for value in told_by(entry).values())
    probe.within("probabilities of one place in all", found=total, high=1 + ROUNDING)
