"""S05: streams beside each other do not mix."""

from bellhousing_conformance.check import check
from bellhousing_conformance.forcing import forced
from bellhousing_conformance.probe import Probe

TOKENS = 12


@check(
    "S05",
    title="Of many streams at once, none receives anything of another",
    clause="bellhousing.v1.Inference.Generate",
    profile="streaming",
    tier="standard",
    needs=("sampling.max_tokens",),
    finds="one delta that goes to another stream, among all of 64 streams",
    seconds=120,
)
async def streams_do_not_mix(probe: Probe) -> None:
    """Force each stream to letters of its own, so that anything of another shows; its id and usage must be its own.

    No reference output is needed then, and so no rule for near ties. What the target declares decides how outputs are
    forced: logit_bias, a choice, a regular expression or a JSON schema. Where it has none of them, nothing is told.
    """
    work = await forced(probe, probe.size(smoke=32, standard=64), TOKENS)
    for place, each in enumerate(work):
        each.request.request_id = f"{probe.seed()}-{place}"
    requests = [each.request for each in work]
    runs = await probe.run_all(requests, at_once=len(work) or 1)
    for each, run in zip(work, runs, strict=True):
        probe.holds(each.is_right(run.text()), f"expected only {each.word!r} in a stream, found {run.text()!r}")
        probe.equal("request_id of a stream", found=run.started.request_id, expected=each.request.request_id)
        probe.equal("tokens of a stream", found=run.tokens(), expected=run.finished.usage.completion_tokens)
