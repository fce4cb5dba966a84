"""X03: a request can be cancelled in prefill."""

import asyncio
import time

from bellhousing.v1 import discovery_pb2
from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.check import check
from bellhousing_conformance.judges import all_hold
from bellhousing_conformance.occupancy import is_free, seconds_until
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.timing import is_noisy, lateness, ticking
from bellhousing_conformance.verdict import Judgement, Rows, Status

MOST_SECONDS = 1.0
LEAST_PREFILL_SECONDS = 0.3
CONTEXT_SHARE = 0.75


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge as all checks do; a prefill that seems to go on decides nothing on a machine that is late itself."""
    judgement = all_hold(rows)
    if judgement.status is Status.FAIL and is_noisy(rows):
        late = f"this process was woken {lateness(rows):.3g} s late itself"
        problems = (*judgement.problems, late)
        return judgement.model_copy(update={"status": Status.INCONCLUSIVE, "problems": problems})
    return judgement


@check(
    "X03",
    title="A request that is cancelled in prefill is gone long before its prefill would have ended",
    clause="bellhousing.v1.Inference",
    profile="cancel",
    needs=("sampling.max_tokens",),
    judge=judge,
    finds="one prefill that is computed to its end after the client has left",
    tier="standard",
    alone=True,
    seconds=240,
)
async def prefill_can_be_cancelled(probe: Probe) -> None:
    """Measure the prefill of a long prompt, then cancel others a third of the way in.

    Half of what is left may pass, at most 1 s and a tenth of the prefill: an engine may finish the chunk of the prompt
    that it computes.
    """
    first = await probe.run(_long_prompt(probe))
    whole = (first.stamps_ns[-1] - first.sent_ns) / 1e9
    if whole < LEAST_PREFILL_SECONDS:
        what = f"a prefill of {whole:.2g} s is too short to be cancelled in: expected {LEAST_PREFILL_SECONDS:g} s"
        probe.left_out(what, prefill_seconds=whole)
        return
    before = await probe.load()
    async with ticking(probe):
        for _ in range(probe.size(smoke=2, standard=4)):
            await _cancel_one(probe, before, whole)


async def _cancel_one(probe: Probe, before: discovery_pb2.Load, whole: float) -> None:
    """Cancel a prefill a third of the way in, and note how long it went on.

    `before` is the load before the first: the prefill before may go on, and would hide that this one does.
    """
    await seconds_until(probe, lambda load: is_free(load, before), whole)
    task = asyncio.ensure_future(probe.calls.stream(_long_prompt(probe)))
    began = time.perf_counter()
    await seconds_until(probe, lambda load: load.running > before.running, whole)
    await asyncio.sleep(max(0.0, whole / 3 - (time.perf_counter() - began)))
    is_over = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if is_over:
        probe.left_out("a prefill had ended before it was cancelled", prefill_seconds=whole)
        return
    limit = min(whole / 3, MOST_SECONDS + whole / 10)
    left = await seconds_until(probe, lambda load: is_free(load, before), 2 * limit)
    probe.within("seconds until a prefill was gone", found=left, high=limit)


def _long_prompt(probe: Probe) -> pb.GenerateRequest:
    """Return a request whose prompt fills most of the context and whose output is one token.

    A word and its number are at most 8 tokens in any vocabulary: digits may be tokens of their own.
    """
    words = max(8, int(probe.model.context_length * CONTEXT_SHARE) // 8)
    salt = probe.random.randrange(10**9)
    text = " ".join(f"sea {probe.random.randrange(1000)}" for _ in range(words))
    return probe.request(f"Note {salt}. {text}", max_tokens=1)
