"""P01: temperature 0 takes the most probable token."""

from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.oracles import Oracle
from bellhousing_conformance.probe import Probe

TIE = 1e-3
LENGTH = 24
AT_ONCE = 4


@check(
    "P01",
    title="At temperature 0 every token is the most probable one by the target's own log probabilities",
    clause="bellhousing.v1.Sampling.temperature",
    profile="sampling",
    needs=("sampling.temperature", "sampling.max_tokens", "logprobs.top"),
    finds=f"one token more than {TIE:g} nat below the best",
)
async def greedy_takes_the_best(probe: Probe) -> None:
    """Compare each token with the best alternative at its place, and with the oracle where there is one."""
    count = probe.size(smoke=3, standard=12)
    requests = [probe.request(max_tokens=LENGTH, temperature=0.0, logprobs=1) for _ in range(count)]
    for run in await probe.run_all(requests, at_once=AT_ONCE):
        for delta in run.deltas():
            for entry in delta.logprobs:
                best = max((top.logprob for top in entry.top), default=entry.logprob)
                probe.within("nats of a greedy token below the best", found=best - entry.logprob, high=TIE)
        if probe.oracle is not None:
            _against_oracle(probe, probe.oracle, run)


def _against_oracle(probe: Probe, oracle: Oracle, run: Run) -> None:
    context = list(oracle.ids(run.request.text))
    for token in run.ids():
        exact = oracle.logprobs(context)
        probe.holds(token in exact, f"a greedy token: expected one that the oracle can draw, found id {token}")
        if token not in exact:
            return
        gap = max(exact.values()) - exact[token]
        probe.within("nats of a greedy token below the oracle's best", found=gap, high=TIE)
        context.append(token)
