"""LP2: log probabilities are taken where the model says, before or after temperature and filters."""

import math

from bellhousing.v1 import discovery_pb2
from bellhousing_conformance.check import check
from bellhousing_conformance.distributions import told_by
from bellhousing_conformance.probe import Probe
from bellhousing_conformance.verdict import Figure, Judgement, Rows, Status

TEMPERATURES = (1.0, 0.5, 2.0)
TOP = 5
TOLERANCE = 0.02
"""Nats. The same context is asked again and again, so that even quantised kernels hardly differ."""


def judge(rows: Rows, _alpha: float) -> Judgement:
    """Compare the gap between the two best tokens of each temperature with the one at temperature 1."""
    told = [row for row in rows if row["kind"] == "gap"]
    if not told:
        return Judgement(status=Status.INCONCLUSIVE, problems=("no gap was told",))
    problems, worst = [], 0.0
    for row in told:
        if row["mode"] not in ("RAW", "PROCESSED"):
            problems.append(f"Model.logprobs_mode: expected RAW or PROCESSED, found {row['mode']}")
            continue
        expected = row["plain"] / (row["temperature"] if row["mode"] == "PROCESSED" else 1.0)
        difference = abs(row["found"] - expected)
        worst = max(worst, difference)
        if not difference <= TOLERANCE * max(1.0, 1 / row["temperature"]):
            problems.append(
                f"gap at temperature {row['temperature']:g} in mode {row['mode']}: expected {expected:.4f}, "
                f"found {row['found']:.4f}"
            )
    figures = (Figure(name="n", value=len(told)), Figure(name="largest difference in nats", value=worst))
    return Judgement(status=Status.FAIL if problems else Status.PASS, figures=figures, problems=tuple(problems))


@check(
    "LP2",
    title="Log probabilities are those before, or after, temperature: as the model declares",
    clause="bellhousing.v1.LogprobsMode",
    profile="logprobs",
    needs=("logprobs.top", "token_ids", "sampling.temperature", "sampling.max_tokens"),
    judge=judge,
    statistic="largest difference of the gap between the two best tokens from what the declared mode gives",
    finds="the other mode, wherever the two best tokens are 0.04 nat apart",
)
async def mode_is_as_declared(probe: Probe) -> None:
    """Ask for one token after the same prompt at several temperatures."""
    mode = discovery_pb2.LogprobsMode.Name(probe.model.capabilities.logprobs_mode).removeprefix("LOGPROBS_MODE_")
    temperatures = [each for each in TEMPERATURES if each == 1.0 or probe.allows("sampling.temperature", each)]
    for _ in range(probe.size(smoke=2, standard=6)):
        prompt = probe.prompt()
        await probe.generate(prompt, max_tokens=1)
        pair: list[str] = []
        plain = 0.0
        for temperature in temperatures:
            run = await probe.generate(prompt, max_tokens=1, temperature=temperature, logprobs=probe.alternatives(TOP))
            told = [told_by(entry) for entry in run.logprobs()]
            if not told:  # the end token was drawn, which is not delivered
                continue
            pair = pair or sorted(told[0], key=lambda key: -told[0][key])[:2]
            if len(pair) < 2:
                continue
            gap = _gap(told[0], pair)
            plain = gap if temperature == 1.0 else plain
            if temperature != 1.0 and plain and math.isfinite(gap):
                probe.observe("gap", mode=mode, temperature=temperature, plain=plain, found=gap)


def _gap(told: dict[str, float], pair: list[str]) -> float:
    """Return how much more probable the first token is; infinite where one is not told."""
    return told[pair[0]] - told[pair[1]] if all(key in told for key in pair) else math.inf
