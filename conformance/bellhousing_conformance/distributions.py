"""Places of outputs at which both the target and a reference tell the distribution of the next token."""

import asyncio
import math
from collections.abc import Mapping

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.against import OtherFailed
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.texts import beginning_of

ALTERNATIVES = 20
TOKENS = 16
"""Tokens of each output."""

AT_ONCE = 4
NEEDS = ("text", "token_ids", "tokenize", "logprobs.top", "sampling.max_tokens", "sampling.temperature")


def told_by(entry: pb.TokenLogprob) -> dict[str, float]:
    """Return what an entry tells: log probabilities by token id, of the drawn token and of the alternatives."""
    return {str(entry.id): entry.logprob} | {str(each.id): each.logprob for each in entry.top}


async def observe_places(probe: Probe, count: int, alternatives: int = ALTERNATIVES) -> None:
    """Generate until `count` places are there; note what target and reference say at each.

    Outputs are drawn at temperature 1 without filters: what a model tells then is the same before and after sampling's
    steps. The reference is asked about the very ids that the target was given and made.
    """
    reference = probe.reference
    if reference is None:
        raise RuntimeError("the check should be declared with reference=True")
    probe.observe("precision", precision=probe.model.precision)
    number = math.ceil(count / TOKENS)
    arguments = {"max_tokens": TOKENS, "temperature": 1.0, "logprobs": probe.alternatives(alternatives)}
    requests = [probe.request(beginning_of(probe.random), **arguments) for _ in range(number)]  # type: ignore[arg-type] # a plain dictionary
    if probe.supports("sampling.seed"):
        for request in requests:
            request.sampling.seed = probe.seed()
    runs = await probe.run_all(requests, at_once=AT_ONCE)
    for place, (request, run) in enumerate(zip(requests, runs, strict=True)):
        prompt = await probe.tokenize(request.text)
        if list(await asyncio.to_thread(reference.ids, request.text)) != prompt:
            raise OtherFailed("the reference makes other tokens of a prompt than the target: it is another model")
        told = run.logprobs()
        if not run.ids():
            continue
        exacts = await asyncio.to_thread(reference.along, prompt, run.ids())
        for entry, exact in zip(told, exacts, strict=False):
            _observe(probe, place, told_by(entry), exact)


def _observe(probe: Probe, prompt: int, told: Mapping[str, float], exact: Mapping[int, float]) -> None:
    reference = {token: exact[int(token)] for token in told if int(token) in exact}
    best = max(exact, key=lambda token: exact[token])
    probe.observe("place", prompt=prompt, told=told, reference=reference, best=best, best_logprob=exact[best])
