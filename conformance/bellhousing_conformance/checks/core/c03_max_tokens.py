"""C03: `max_tokens` is exact."""

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

LENGTHS = (1, 2, 17, 64)
AT_ONCE = 4
BIAS = 100.0
"""Makes the end token certain."""

QUESTION = "Is water wet? Answer with yes or no and nothing else."


@check(
    "C03",
    title="max_tokens is exact past the end token, with reason MAX_TOKENS",
    clause="bellhousing.v1.Sampling.max_tokens",
    profile="core",
    needs=("sampling.max_tokens", "sampling.ignore_eos"),
    finds="an output one token longer or shorter, or one that ends at the end token",
)
async def max_tokens_is_exact(probe: Probe) -> None:
    """Generate each length several times: as the model goes on by itself, and where it would end at once."""
    lengths = LENGTHS * probe.size(smoke=1, standard=4)
    asked = [(length, probe.request(max_tokens=length, ignore_eos=True)) for length in lengths]
    asked += [(length, _ending(probe, length)) for length in lengths]
    runs = await probe.run_all([request for _, request in asked], at_once=AT_ONCE)
    for (length, _), run in zip(asked, runs, strict=True):
        probe.equal(f"tokens of max_tokens={length}", found=run.tokens(), expected=length)
        probe.equal(f"finish reason of max_tokens={length}", found=run.reason(), expected="MAX_TOKENS")


def _ending(probe: Probe, length: int) -> pb.GenerateRequest:
    """Return a request that comes to the end token soon, as far as the target has a way to it; many models never do."""
    request = probe.request(max_tokens=length, ignore_eos=True)
    ends = probe.model.eos_token_ids
    if ends and probe.allows("sampling.logit_bias", BIAS, entries=len(ends)):
        request.sampling.logit_bias.update(dict.fromkeys(ends, BIAS))
    elif probe.supports("chat"):
        request.chat.messages.add(role=pb.CHAT_ROLE_USER, content=QUESTION)
    return request
