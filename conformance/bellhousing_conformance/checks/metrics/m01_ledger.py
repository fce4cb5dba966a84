"""M01: the counters are the client's own ledger."""

from collections import Counter
from functools import partial

from bellhousing.v1 import inference_pb2 as pb
from bellhousing_conformance.calls import CallFailed, Run
from bellhousing_conformance.check import check
from bellhousing_conformance.exposition import OURS, Scrape, grown, scrape, settled
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import NotRun

REQUESTS = f"{OURS}requests_total"
TOKENS = {name: f"{OURS}{name}_total" for name in ("prompt_tokens", "cached_tokens", "completion_tokens")}
AT_ONCE = 4
STRANGER = "nobody-has-this-name"


@check(
    "M01",
    title="The counters of the metrics grow by what the client counted, exactly",
    clause="bellhousing.v1.Usage",
    profile="metrics",
    tier="standard",
    needs=("sampling.max_tokens",),
    hooks=("metrics",),
    statistic="equality of the ledgers: requests by status, and tokens by kind; zero tolerance",
    finds="one request or one token counted twice, not at all or under another status",
    alone=True,
    seconds=120,
)
async def counters_are_the_clients_ledger(probe: Probe) -> None:
    """Send streams, unary calls, requests to refuse and one to abandon; compare the growth of every counter."""
    before = await scrape(probe)
    requests, tokens = Counter[str](), Counter[str]()
    for finished in await _well(probe):
        requests["OK"] += 1
        for name in TOKENS:
            tokens[name] += getattr(finished.usage, name)
    for request in _refused(probe):
        requests[await _code(probe, request)] += 1
    # Long enough that it is still there when the client leaves.
    left = await probe.run(_long(probe), until=lambda run: run.tokens() > 0)
    requests["OK" if left.finished.ByteSize() else "CANCELLED"] += 1

    def is_settled(found: Scrape) -> bool:
        return sum(grown(before.by(REQUESTS, "code"), found.by(REQUESTS, "code")).values()) >= requests.total()

    after, _ = await settled(probe, is_settled)
    if not after.has(REQUESTS):
        raise NotRun(f"the metrics have no counter {REQUESTS}, whose growth could be compared")
    found = grown(before.by(REQUESTS, "code"), after.by(REQUESTS, "code"))
    probe.equal("growth of the requests by status", found=found, expected=dict(sorted(requests.items())))
    for name, metric in TOKENS.items():
        growth = after.total(metric, code="OK") - before.total(metric, code="OK")
        probe.equal(f"growth of {metric} of requests that ended well", found=round(growth), expected=tokens[name])


async def _well(probe: Probe) -> list[pb.Finished]:
    """Send what ends well; return the ends."""
    count = probe.size(smoke=6, standard=32, full=200)
    requests = [probe.request(max_tokens=2 + number % 7) for number in range(count)]
    if probe.supports("sampling.n"):
        requests += [probe.request(max_tokens=3, n=2)]
    streams: list[Run] = await probe.run_all(requests, at_once=AT_ONCE)
    unary = [partial(probe.complete, probe.request(max_tokens=4)) for _ in range(count // 2)]
    answers = await probe.each(unary, at_once=AT_ONCE)
    return [run.finished for run in streams] + [answer.finished for answer in answers]


def _refused(probe: Probe) -> list[pb.GenerateRequest]:
    """Return requests that nobody can serve: for an unknown model, and with a value out of range."""
    return [probe.request(max_tokens=1, model=STRANGER), probe.request(temperature=-1.0)]


def _long(probe: Probe) -> pb.GenerateRequest:
    request = probe.request(max_tokens=probe.model.context_length // 2)
    if probe.supports("sampling.ignore_eos"):
        request.sampling.ignore_eos = True
    return request


async def _code(probe: Probe, request: pb.GenerateRequest) -> str:
    """Return the status with which a request is refused."""
    try:
        await probe.complete(request)
    except CallFailed as failed:
        return failed.code.name
    return "OK"
