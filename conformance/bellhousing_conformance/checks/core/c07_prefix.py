"""C07: a longer output begins with the shorter one."""

from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe

SHORT, LONG = 16, 64


@check(
    "C07",
    title=f"An output of {SHORT} tokens is how the output of {LONG} tokens begins",
    clause="bellhousing.v1.Sampling.max_tokens",
    profile="core",
    tier="standard",
    needs=("sampling.max_tokens", "sampling.temperature", "determinism"),
    finds="a draw that depends on max_tokens in one request of the sample",
)
async def short_output_begins_the_long_one(probe: Probe) -> None:
    """Compare greedy outputs and, where seeds are declared, seeded draws; the first request fills a prefix cache."""
    for _ in range(probe.size(smoke=1, standard=2)):
        for temperature in (0.0, 1.0) if probe.supports("sampling.seed") else (0.0,):
            request = probe.request(max_tokens=LONG, temperature=temperature)
            if probe.supports("sampling.seed"):
                request.sampling.seed = probe.seed()
            await probe.run(probe.request(request.text, max_tokens=1))
            whole = await probe.run(request)
            request.sampling.max_tokens = SHORT
            part = await probe.run(request)
            what = f"at temperature {temperature:g}"
            probe.equal(f"text of {SHORT} tokens {what}", found=part.text(), expected=_cut(whole.text(), part.text()))
            probe.equal(f"ids of {SHORT} tokens {what}", found=part.ids(), expected=whole.ids()[: len(part.ids())])
            probe.equal(f"tokens {what}", found=part.tokens(), expected=min(SHORT, whole.tokens()))


def _cut(whole: str, part: str) -> str:
    """Return as much of the whole text as the part has; where the part was cut depends on the model's tokens."""
    return whole[: len(part)]
