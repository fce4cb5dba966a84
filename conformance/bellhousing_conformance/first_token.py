"""How far two distributions of the first token after a prompt are apart."""

import math
from collections.abc import Mapping

from bellhousing_conformance.probe import Probe

ALTERNATIVES = 20
TRIES = 8
MOST_NATS = 10.0
"""What two distributions without a common token among those told count as: a report has no infinity."""


async def first_logprobs(probe: Probe, prompt: str, *, adapter: str = "") -> dict[str, float]:
    """Return the most probable first tokens after a prompt, at temperature 1 without filters, by id.

    Where the target has no ids they are told apart by their bytes; of two with the same the more probable counts.

    There log probabilities before and after the steps of sampling are the same. An end token is not delivered, and
    tells nothing: another draw is taken then, and nothing is returned after `TRIES` of them.
    """
    arguments = {"adapter": adapter} if adapter else {}
    for _ in range(TRIES):
        most = probe.alternatives(ALTERNATIVES)
        run = await probe.generate(prompt, max_tokens=1, temperature=1.0, logprobs=most, **arguments)  # type: ignore[arg-type]
        found = [top for entry in run.logprobs() for top in entry.top]
        told = {str(top.id) if top.HasField("id") else top.token.hex(): top.logprob for top in reversed(found)}
        if told:
            return told
    return {}


def conditional_kl(left: Mapping[str, float], right: Mapping[str, float]) -> float:
    """Return KL(left || right) in nats, of both conditional on the tokens that both tell; `MOST_NATS` without any."""
    shared = sorted(left.keys() & right.keys())
    if not shared:
        return MOST_NATS
    totals = [math.log(math.fsum(math.exp(each[token]) for token in shared)) for each in (left, right)]
    return math.fsum(
        math.exp(left[token] - totals[0]) * (left[token] - totals[0] - right[token] + totals[1]) for token in shared
    )
