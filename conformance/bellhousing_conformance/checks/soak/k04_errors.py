"""K04: requests do not fail now and then."""

from collections import Counter

from bellhousing_conformance.check import check
from bellhousing_conformance.loads import ACCOUNTING, MOST_PLACES, NEEDS, loads_of, send_closed
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.stats import bound_of_no_failures
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

EXPLAINED = ("OK", "RESOURCE_EXHAUSTED")
"""A refusal that says that there is no room is no error."""


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge how many requests failed without a reason that load explains: none may, of as many as were asked for."""
    wanted = next((row["requests"] for row in rows if row["kind"] == "wanted"), 0)
    loads = loads_of(rows)
    # What is late is no error: only that every request is there once matters here.
    wrong = [load.missed[name] for load in loads for name in ACCOUNTING if name in load.missed]
    codes = Counter(row.code for load in loads for row in load.run.rows)
    n, failed = codes.total(), {code: count for code, count in codes.items() if code not in EXPLAINED}
    rate = sum(failed.values()) / n if n else 0.0
    figures = (
        Figure(name="n", value=n),
        Figure(name="failure_rate", value=rate, low=0.0, high=None if failed else bound_of_no_failures(n)),
    )
    if failed:
        told = ", ".join(f"{count} {code}" for code, count in failed.items())
        problem = f"unexplained failures: expected none of {n} requests, found {told}"
        return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))
    if n < wanted or not n:
        wrong.append(f"expected {wanted} requests, found {n}: the bound is larger than was asked for")
    status = Status.INCONCLUSIVE if wrong else Status.PASS
    return Judgement(status=status, figures=figures, problems=tuple(wrong))


@check(
    "K04",
    title="Of 3,000 requests none fails unexplained",
    clause="bellhousing.v1.Inference.Generate",
    profile="soak",
    tier="full",
    needs=NEEDS,
    judge=judge,
    statistic="zero failures in n; 95 % bound 3/n, of 3,000 requests 0.1 %",
    finds="one failure in 1,000 requests, 19 times out of 20",
    alone=True,
    seconds=600,
)
async def no_request_fails(probe: Probe) -> None:
    """Send short requests, as many at once as there are places."""
    wanted = probe.size(smoke=600, standard=1000, full=3000)
    probe.observe("wanted", requests=wanted)
    places = min(MOST_PLACES, max(1, (await probe.load()).max_running))
    await send_closed(probe, "errors", concurrency=places, seconds=2000, requests=wanted, tokens=1)
