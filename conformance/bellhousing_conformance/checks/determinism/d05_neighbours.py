"""D05: what runs beside a seeded request does not change it."""

import asyncio

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import Run
from bellhousing_conformance.check import check
from bellhousing_conformance.probe import Probe, task_group
from bellhousing_conformance.stats import wilson
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

LENGTH = 16
NEIGHBOURS = 3
LEAST_SHARE = 0.5
"""Without batch invariance rounding may turn a draw now and then; a generator that is shared turns nearly all."""


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Require equal outputs where batch invariance is declared; elsewhere a share below a half is a DIVERGENCE."""
    pairs = [row for row in rows if row["kind"] == "pair"]
    if not pairs:
        return Judgement(status=Status.INCONCLUSIVE, problems=("nothing was generated",))
    equal = sum(row["alone"] == row["beside"] for row in pairs)
    share, (low, high) = equal / len(pairs), wilson(equal, len(pairs))
    is_promised = pairs[0]["is_promised"]
    least = 1.0 if is_promised else LEAST_SHARE
    figures = (
        Figure(name="n", value=len(pairs)),
        Figure(name="share of seeded outputs that neighbours leave alone", value=share, low=low, high=high),
    )
    if share >= least:
        return Judgement(status=Status.PASS, figures=figures)
    problem = (
        f"seeded outputs that are the same beside others: expected a share of at least {least:g}, found {share:.2f}"
    )
    status = Status.FAIL if is_promised else Status.DIVERGENCE
    return Judgement(status=status, figures=figures, problems=(problem,))


@check(
    "D05",
    title="A seeded output does not depend on the requests beside it",
    clause="bellhousing.v1.Capabilities.determinism",
    profile="determinism",
    tier="standard",
    needs=("sampling.seed", "sampling.temperature", "sampling.max_tokens", "determinism"),
    judge=judge,
    statistic=f"zero changed outputs where batch invariance is declared, else a share of at least {LEAST_SHARE:g}",
    finds="one output that neighbours change, where batch invariance is declared; else a generator that they share",
    seconds=240,
)
async def neighbours_change_nothing(probe: Probe) -> None:
    """Generate alone, then among unseeded others. Each prompt was run before, so that the cache is the same."""
    is_promised = probe.supports("batch_invariance")
    for _ in range(probe.size(smoke=6, standard=16)):
        request = probe.request(max_tokens=LENGTH, temperature=1.0, seed=probe.seed())
        await probe.fill_cache(request)
        alone = await probe.run(request)
        beside = await _among_others(probe, request)
        probe.observe("pair", is_promised=is_promised, alone=alone.text(), beside=beside.text())


async def _among_others(probe: Probe, request: pb.GenerateRequest) -> Run:
    """Return the generation of a request that runs while others do."""
    others = [probe.request(max_tokens=2 * LENGTH, temperature=1.0) for _ in range(NEIGHBOURS)]
    beginnings = [asyncio.Event() for _ in others]

    async def neighbour(other: pb.GenerateRequest, has_begun: asyncio.Event) -> Run:
        def note(run: Run) -> bool:
            if run.deltas():
                has_begun.set()
            return False

        try:
            return await probe.run(other, until=note)
        finally:
            has_begun.set()

    async with task_group() as group:
        for other, has_begun in zip(others, beginnings, strict=True):
            group.create_task(neighbour(other, has_begun))
        for has_begun in beginnings:
            await has_begun.wait()
        task = group.create_task(probe.run(request))
    return task.result()
