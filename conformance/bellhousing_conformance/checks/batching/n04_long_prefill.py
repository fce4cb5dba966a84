"""N04: a short request does not wait for a long one to end."""

import asyncio

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.judges import undecided
from bellhousing_conformance.occupancy import lasting
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.timing import quantile
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

LONG_TOKENS = 100


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Report how much longer the first token takes beside a long prefill; fail when it waits for the long one's end.

    The contract bounds no such time, so that the ratio itself decides nothing.
    """
    told = [row for row in rows if row["kind"] == "beside"]
    if not told:
        return undecided(rows, "no request ran beside a long one")
    ratios = [row["seconds"] / row["alone"] for row in told if row["alone"] > 0]
    waited = sum(row["seconds"] >= row["long_seconds"] for row in told)
    figures = (
        Figure(name="n", value=len(told)),
        Figure(
            name="TTFT beside a long prefill over alone", value=quantile(ratios, 0.5), low=min(ratios), high=max(ratios)
        ),
        Figure(name="share that waited for the long request's end", value=waited / len(told)),
    )
    if 2 * waited <= len(told):
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"short requests beside a long one: expected them not to wait for its end, found {waited} of {len(told)}"
    return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))


@check(
    "N04",
    title="A short request gets its first token before a long one beside it has ended",
    clause="bellhousing.v1.Load.max_running",
    profile="batching",
    needs=("sampling.max_tokens",),
    judge=judge,
    statistic="share of short requests that wait for the long one's end; ratio of TTFTs reported",
    finds="a target that runs requests one after the other although it says that it runs several",
    requirement="SHOULD",
    tier="standard",
    alone=True,
    seconds=240,
)
async def a_short_request_does_not_wait(probe: Probe) -> None:
    """Send a long prompt with a long output, then a short one at once."""
    if (await probe.load()).max_running < 2:
        return
    for _ in range(probe.size(smoke=2, standard=4)):
        alone = _first_token(await probe.run(_short(probe)))
        long = asyncio.ensure_future(probe.run(_long(probe)))
        await asyncio.sleep(0.02)
        short = await probe.run(_short(probe))
        whole = await long
        if whole.tokens() < LONG_TOKENS or not short.deltas():
            probe.left_out("a request ended by itself before the other could wait for it")
            continue
        end = (whole.stamps_ns[-1] - short.sent_ns) / 1e9
        probe.observe("beside", alone=alone, seconds=_first_token(short), long_seconds=end)


def _short(probe: Probe) -> pb.GenerateRequest:
    return lasting(probe, max_tokens=2)


def _long(probe: Probe) -> pb.GenerateRequest:
    """Return a request with a prompt of at most half of the context."""
    words = max(8, probe.model.context_length // 16)
    text = " ".join(f"sea {probe.random.randrange(1000)}" for _ in range(words))
    return lasting(probe, f"{probe.prompt()} {text}", max_tokens=LONG_TOKENS)


def _first_token(run: Run) -> float:
    """Return the seconds until the first delta."""
    stamps = [ns for ns, kind in zip(run.stamps_ns, run.kinds, strict=True) if kind == "delta"]
    return (stamps[0] - run.sent_ns) / 1e9 if stamps else 0.0
