"""M02: the server's own TTFT is the client's."""

from statistics import fmean, median

from bellhousing_conformance.check import check
from bellhousing_conformance.exposition import HISTOGRAMS, OURS, Scrape, scrape, settled
from bellhousing_conformance.judges import all_hold, together
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.timing import is_noisy, ticking
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

SHARE, SECONDS = 0.2, 0.005
PROXY_SECONDS = 0.05
"""What a proxy in this process may take of its own, on a machine that others use too."""

TTFT = HISTOGRAMS["gen_ai.server.time_to_first_token"]


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Judge the medians of the timeline, and the means of the histogram where there is one."""
    pairs = [row for row in rows if row["kind"] == "pair"]
    if not pairs:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no request told when its first token came",))
    here, there = (median(row[side] for row in pairs) for side in ("client", "server"))
    least = max(row["least"] for row in pairs)
    parts = [_near("median TTFT of the timeline, s", there, here, len(pairs), least)]
    for row in rows:
        if row["kind"] == "histogram":
            client = fmean(pair["client"] for pair in pairs)
            parts.append(_near("mean TTFT of the metrics, s", row["mean"], client, row["n"], least))
            parts.append(all_hold([{**row, "kind": "equal", "found": row["n"], "expected": len(pairs)}]))
    found = together(*parts)
    if found.status is Status.FAIL and is_noisy(rows):
        return found.model_copy(update={"status": Status.INCONCLUSIVE})
    return found


def _near(name: str, server: float, client: float, n: int, least: float) -> Judgement:
    most = max(SHARE * client, least)
    figures = (
        Figure(name="n", value=n),
        Figure(name=name, value=server),
        Figure(name=f"{name.removesuffix(', s')} as the client saw it, s", value=client),
    )
    if abs(server - client) <= most:
        return Judgement(status=Status.PASS, figures=figures)
    problem = f"{name}: expected {client:.4g} to within {most:.3g}, found {server:.4g}"
    return Judgement(status=Status.FAIL, figures=figures, problems=(problem,))


@check(
    "M02",
    title="The server's time to first token is the client's, to within 20 % or 5 ms",
    clause="bellhousing.v1.Timeline.first_token",
    profile="metrics",
    tier="standard",
    needs=("sampling.max_tokens",),
    judge=judge,
    statistic="difference of medians (timeline) and of means (histogram), of requests one after the other",
    finds="a server that leaves more than 20 %, at least 5 ms, of what a client waits out of its own figure",
    alone=True,
    seconds=120,
)
async def the_servers_ttft_is_the_clients(probe: Probe) -> None:
    """Send requests one after the other; compare when the first token came with what the target tells of it."""
    has_metrics = probe.hooks.has("metrics")
    before = await scrape(probe) if has_metrics else Scrape(())
    count, least = 0, PROXY_SECONDS if probe.shares_process else SECONDS
    async with ticking(probe):
        for _ in range(probe.size(smoke=15, standard=40, full=100)):
            run = await probe.generate(max_tokens=2)
            timeline = run.finished.timeline
            stamps = [ns for ns, m in zip(run.stamps_ns, run.messages, strict=True) if m.delta.token_count]
            if not stamps or not timeline.HasField("first_token"):
                continue
            count += 1
            server = timeline.first_token.ToNanoseconds() / 1e9
            probe.observe("pair", client=(stamps[0] - run.sent_ns) / 1e9, server=server, least=least)
    if not has_metrics:
        return
    counter, total = f"{OURS}{TTFT}_count", f"{OURS}{TTFT}_sum"
    after, _ = await settled(probe, lambda found: found.total(counter) - before.total(counter) >= count)
    grown = round(after.total(counter) - before.total(counter))
    if grown:
        mean = (after.total(total) - before.total(total)) / grown
        probe.observe("histogram", what=f"growth of {counter}", n=grown, mean=mean)
