"""C03: `max_tokens` is exact."""

from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

LENGTHS = (1, 2, 17, 64)
AT_ONCE = 4


@check(
    "C03",
    title="max_tokens is exact past the end token, with reason MAX_TOKENS",
    clause="bellhousing.v1.Sampling.max_tokens",
    profile="core",
    needs=("sampling.max_tokens", "sampling.ignore_eos"),
    finds="an output one token longer or shorter",
)
async def max_tokens_is_exact(probe: Probe) -> None:
    """Generate each length several times."""
    lengths = LENGTHS * probe.size(smoke=1, standard=4)
    requests = [probe.request(max_tokens=length, ignore_eos=True) for length in lengths]
    for length, run in zip(lengths, await probe.run_all(requests, at_once=AT_ONCE), strict=True):
        probe.equal(f"tokens of max_tokens={length}", found=run.tokens(), expected=length)
        probe.equal(f"finish reason of max_tokens={length}", found=run.reason(), expected="MAX_TOKENS")
