"""LP6: asking for log probabilities changes nothing else."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe


@check(
    "LP6",
    title="Asking for log probabilities leaves the output unchanged",
    clause="bellhousing.v1.LogprobOptions.top",
    profile="logprobs",
    tier="standard",
    needs=("logprobs.top", "sampling.max_tokens", "sampling.temperature", "determinism"),
    finds="one token that is another with log probabilities, in the sample",
)
async def log_probabilities_change_nothing(probe: Probe) -> None:
    """Compare outputs with and without, greedy and seeded; the prompt is in the prefix cache."""
    for _ in range(probe.size(smoke=1, standard=3)):
        for temperature in (0.0, 1.0) if probe.supports("sampling.seed") else (0.0,):
            request = probe.request(max_tokens=16, temperature=temperature)
            if probe.supports("sampling.seed"):
                request.sampling.seed = probe.seed()
            await probe.fill_cache(request)
            plain = await probe.run(request)
            asked = pb.GenerateRequest()
            asked.CopyFrom(request)
            asked.logprobs.top = probe.alternatives(3)
            found = await probe.run(asked)
            what = f"with log probabilities at temperature {temperature:g}"
            probe.equal(f"text {what}", found=found.text(), expected=plain.text())
            probe.equal(f"ids {what}", found=found.ids(), expected=plain.ids())
