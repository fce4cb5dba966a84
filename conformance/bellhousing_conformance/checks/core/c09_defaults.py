"""C09: what is left out has the value that Model.defaults declares."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

TOKENS = 8
UNSEEN = ("seed", "max_tokens")
"""The server chooses the seed anew each time, and without `max_tokens` an output fills the context."""


@check(
    "C09",
    title="A parameter that is left out is the default that the model declares",
    clause="bellhousing.v1.Model.defaults",
    profile="core",
    tier="standard",
    needs=("sampling.max_tokens",),
    finds="a default in force that is not the declared one, if it changes one token in the sample",
)
async def left_out_is_the_default(probe: Probe) -> None:
    """Compare what Started says is in force, and seeded draws with and without the defaults written out.

    At full size each default is also written out alone, which tells the culprit.
    """
    defaults = [(field.name, value) for field, value in probe.model.defaults.ListFields() if field.name not in UNSEEN]
    kept = [(name, value) for name, value in defaults if probe.supports(f"sampling.{name}")]
    groups = [kept, *([pair] for pair in kept)] if probe.tier == "full" else [kept]
    request = probe.request(max_tokens=TOKENS)
    if probe.supports("sampling.seed"):
        request.sampling.seed = probe.seed()
    await probe.run(request)
    plain = await probe.run(request)
    for name, value in kept:
        probe.equal(f"{name} in force", found=getattr(plain.started.effective, name), expected=value)
    if not probe.supports("sampling.seed", "determinism"):
        return
    for group in groups:
        changed = pb.GenerateRequest()
        changed.CopyFrom(request)
        for name, value in group:
            setattr(changed.sampling, name, value)
        run = await probe.run(changed)
        names = ", ".join(name for name, _ in group)
        probe.equal(f"output with {names} written out", found=run.text(), expected=plain.text())
