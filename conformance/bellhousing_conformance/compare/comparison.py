"""What a comparison comes to: ratios with intervals, the noise floor and verdicts, all of it from the blocks' rows."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

from bellhousing_conformance.compare.blocks import ARMS, Arm, Block, by_attempt, read_blocks
from bellhousing_conformance.compare.calibration import Calibration, read_calibration, recomputed
from bellhousing_conformance.compare.execution import MOST_REJECTED, read_subjects
from bellhousing_conformance.compare.figures import COMPARED, Compared, geometric_mean, log_ratio, measured_rows
from bellhousing_conformance.compare.settings import Settings, read_settings
from bellhousing_conformance.compare.sides import precision_label
from bellhousing_conformance.compare.statistics import LEAST_PAIRS, Verdict, Weighed, decide, holm, weighed
from bellhousing_conformance.load.document import differences, finite, read_document, write_document
from bellhousing_conformance.report.model import Subject
from bellhousing_conformance.verdict import Frozen

TIMES = "\N{MULTIPLICATION SIGN}"
COMPARISON_FILE = "comparison.json"
UNLIKE_SHARE = 0.1
"""Lengths of outputs or prompts that differ by more than this are another load."""


class MetricResult(Frozen):
    """A metric. Ratios are A's to B's, of geometric means over the blocks; `means` are those of each arm, in `unit`.

    `low` and `high` hold the ratio with a confidence of 95 %; None is no bound. `floor` is a share: what A seems to
    differ from itself by. The p-values are adjusted for all metrics. `reason` says why a metric is not decided.
    """

    name: str
    title: str
    unit: str
    formula_hash: str
    pairs: int
    ratio: float | None
    low: float | None
    high: float | None
    floor: float | None
    floor_ratio: float | None
    difference_p: float | None
    equivalence_p: float | None
    verdict: Verdict
    word: str
    margin: float | None
    means: dict[Arm, float]
    text: str
    reason: str = ""


class BlockResult(Frozen):
    """A block: its figures by metric (None where it has none, or where most requests failed) and why it does not count.

    `counts` is whether its whole pair does.
    """

    pair: int
    attempt: int
    place: int
    arm: Arm
    started: str
    seconds: float
    steal: float | None
    pressure: float | None
    idle_share: float | None
    requests: int
    failures: dict[str, int]
    figures: dict[str, float | None]
    rejections: tuple[str, ...]
    counts: bool


class Comparison(Frozen):
    """A comparison of A with B. `exit_code` is 0 where every metric is decided and 4 where one is not."""

    schema_version: Literal["bellhousing.comparison/1"] = "bellhousing.comparison/1"
    settings: Settings
    subjects: dict[Literal["a", "b"], Subject]
    precision: str
    calibration: Calibration
    pairs: int
    rejected_pairs: int
    rejected_blocks: int
    broken_off: int
    is_conclusive: bool
    reasons: tuple[str, ...]
    cautions: tuple[str, ...]
    metrics: tuple[MetricResult, ...]
    blocks: tuple[BlockResult, ...]
    exit_code: int


@dataclass(frozen=True)
class _Attempt:
    """A measured pair: its blocks by arm, and the reasons of all of them."""

    blocks: Mapping[Arm, Block]
    rejections: Mapping[Arm, tuple[str, ...]]

    @property
    def counts(self) -> bool:
        return len(self.blocks) == len(ARMS) and not any(self.rejections.values())


def comparison_of(folder: Path) -> Comparison:
    """Return what the blocks of a folder come to. Raises `ConfigurationError` for one that cannot be read."""
    settings, subjects = read_settings(folder), read_subjects(folder)
    calibration = recomputed(settings, read_calibration(folder), folder)
    attempts = [_attempt(blocks, calibration) for blocks in by_attempt(read_blocks(folder)).values()]
    return _compared(settings, subjects, calibration, attempts)


def _attempt(blocks: Sequence[Block], calibration: Calibration) -> _Attempt:
    return _Attempt(
        {block.record.arm: block for block in blocks},
        {block.record.arm: tuple(block.rejections(calibration.floor)) for block in blocks},
    )


def _compared(
    settings: Settings,
    subjects: dict[Literal["a", "b"], Subject],
    calibration: Calibration,
    attempts: Sequence[_Attempt],
) -> Comparison:
    whole = [each for each in attempts if len(each.blocks) == len(ARMS)]
    counted = [each for each in whole if each.counts]
    rejected = len(whole) - len(counted)
    reasons = tuple(_reasons(settings, len(counted), rejected))
    blocks_out = sum(bool(found) for each in whole for found in each.rejections.values())
    metrics = tuple(_metrics(counted, blocks_out, is_conclusive=not reasons))
    return Comparison(
        settings=settings,
        subjects=subjects,
        precision=precision_label(subjects["a"], subjects["b"]),
        calibration=calibration,
        pairs=len(counted),
        rejected_pairs=rejected,
        rejected_blocks=blocks_out,
        broken_off=len(attempts) - len(whole),
        is_conclusive=not reasons,
        reasons=reasons,
        cautions=tuple(_cautions(settings, calibration, attempts)),
        metrics=metrics,
        blocks=tuple(_block(each, block) for each in attempts for block in each.blocks.values()),
        exit_code=4 if any(each.verdict == "inconclusive" for each in metrics) or not metrics else 0,
    )


def _reasons(settings: Settings, counted: int, rejected: int) -> Iterator[str]:
    """Yield why nothing is decided."""
    if rejected > MOST_REJECTED * (counted + rejected):
        yield f"{rejected} of {counted + rejected} pairs were rejected: expected at most {MOST_REJECTED:.0%}"
    if counted < settings.pairs:
        yield f"expected {settings.pairs} pairs, found {counted}: the comparison is not finished"


def _metrics(counted: Sequence[_Attempt], blocks_out: int, *, is_conclusive: bool) -> Iterator[MetricResult]:
    found = [(metric, _Pairs.of(metric, counted)) for metric in COMPARED.values()]
    told = [(metric, pairs) for metric, pairs in found if pairs.is_measured]
    decidable = [pairs.weighed for _, pairs in told if pairs.weighed]
    differences = iter(holm([each.ratio.p_value for each in decidable]))
    equivalences = iter(holm([each.equivalence_p for each in decidable]))
    for metric, pairs in told:
        if pairs.weighed is None:
            yield _undecided(metric, pairs)
        else:
            p_values = next(differences), next(equivalences)
            yield _decided(metric, pairs, pairs.weighed, p_values, blocks_out, is_conclusive=is_conclusive)


@dataclass(frozen=True)
class _Pairs:
    """The logarithms of the ratios of a metric, by pair, and the figures that they are of."""

    logs: list[float]
    same: list[float]
    without: int
    figures: dict[Arm, list[float]]
    weighed: Weighed | None

    @classmethod
    def of(cls, metric: Compared, counted: Sequence[_Attempt]) -> "_Pairs":
        values = [{arm: metric.of(each.blocks[arm]) for arm in ARMS} for each in counted]
        ratios = [(log_ratio(each["a"], each["b"]), log_ratio(each["again"], each["a"])) for each in values]
        logs = [ratio for ratio, _ in ratios if ratio is not None]
        same = [ratio for _, ratio in ratios if ratio is not None]
        figures = {arm: [v for each in values if (v := each[arm]) and math.isfinite(v)] for arm in ARMS}
        without = sum(None in pair for pair in ratios)
        return cls(logs, same, without, figures, weighed(logs, same) if logs and same else None)

    @property
    def is_measured(self) -> bool:
        """Tell whether any block has the metric: the processor time of an endpoint is nobody's to read."""
        return any(self.figures.values())


def _undecided(metric: Compared, pairs: _Pairs) -> MetricResult:
    reason = f"{pairs.without} pairs have no ratio: most requests of a block failed, or it has no value"
    return MetricResult(
        name=metric.name, title=metric.title, unit=metric.unit, formula_hash=metric.formula_hash, pairs=0,
        ratio=None, low=None, high=None, floor=None, floor_ratio=None, difference_p=None, equivalence_p=None,
        verdict="inconclusive", word="inconclusive", margin=None, means=_means(pairs),
        text=f"A/B {metric.title}: no ratio", reason=reason,
    )  # fmt: skip


def _decided(
    metric: Compared,
    pairs: _Pairs,
    found: Weighed,
    adjusted: tuple[float, float],
    blocks_out: int,
    *,
    is_conclusive: bool,
) -> MetricResult:
    difference_p, equivalence_p = adjusted
    verdict = decide(found, difference_p, equivalence_p, more_is_better=metric.more_is_better)
    reason = _why_not(pairs, found, is_conclusive=is_conclusive)
    if reason:
        verdict = "inconclusive"
    words = {"better": metric.better, "worse": metric.worse}
    return MetricResult(
        name=metric.name,
        title=metric.title,
        unit=metric.unit,
        formula_hash=metric.formula_hash,
        pairs=len(pairs.logs),
        ratio=math.exp(found.ratio.estimate),
        low=_exp(found.ratio.low),
        high=_exp(found.ratio.high),
        floor=finite(found.floor),
        floor_ratio=math.exp(weighed(pairs.same, pairs.same).ratio.estimate),
        difference_p=difference_p,
        equivalence_p=equivalence_p,
        verdict=verdict,
        word=words.get(verdict, verdict),
        margin=finite(found.margin),
        means=_means(pairs),
        text=sentence(metric.title, found, len(pairs.logs), blocks_out),
        reason=reason,
    )


def _why_not(pairs: _Pairs, found: Weighed, *, is_conclusive: bool) -> str:
    """Return why a metric cannot be decided whatever its figures; empty where it can."""
    if not is_conclusive:
        return "the comparison as a whole is not conclusive"
    if pairs.without:
        return f"{pairs.without} pairs have no ratio: most requests of a block failed, or it has no value"
    if len(pairs.logs) < LEAST_PAIRS or not math.isfinite(found.floor):
        return f"expected at least {LEAST_PAIRS} pairs, found {len(pairs.logs)}"
    return ""


def sentence(title: str, found: Weighed, pairs: int, blocks_out: int) -> str:
    """Return the sentence of a metric: ratio, interval, sample, noise floor and what was rejected."""
    ratio = found.ratio
    low, high = (f"{each:.2f}" if each is not None else "none" for each in (_exp(ratio.low), _exp(ratio.high)))
    floor = f"±{found.floor * 100:.2g} %" if math.isfinite(found.floor) else "unknown"
    estimate = f"{math.exp(ratio.estimate):.2f}{TIMES}"
    sample = f"{_count(pairs, 'pair')}, A/A floor {floor}, {_count(blocks_out, 'block')} rejected"
    return f"A/B {title} {estimate} [{low}, {high}], {sample}"


def _cautions(settings: Settings, calibration: Calibration, attempts: Sequence[_Attempt]) -> Iterator[str]:
    """Yield what makes the figures of the two sides mean different things."""
    rows: dict[str, list[Block]] = {"a": [], "b": []}
    for each in attempts:
        for arm, block in each.blocks.items():
            rows["b" if arm == "b" else "a"].append(block)
    for what, of in (("outputs", "tokens"), ("prompts", "prompt_tokens")):
        found = [_mean_of(rows[arm], of) for arm in ("a", "b")]
        first, second = found
        if first and second and abs(first / second - 1) > UNLIKE_SHARE:
            yield f"{what} of A have {first:.3g} tokens on average, those of B {second:.3g}: that is another load"
    for arm, capacity in calibration.capacity.items():
        if not capacity.is_steady:
            yield f"{arm.upper()} was not steady after {capacity.rounds} rounds of warming up"
    for side, blocks in rows.items():
        failed = Counter(row.code for block in blocks for row in measured_rows(block) if not row.is_ok)
        if failed:
            told = ", ".join(f"{count} with {code}" for code, count in failed.items())
            yield f"requests of {side.upper()} failed: {told}; they count as infinitely slow"
    if settings.natural:
        yield "outputs end where each model ends them: lengths are the models' own"


def _mean_of(blocks: Sequence[Block], name: str) -> float | None:
    values = [getattr(row, name) for block in blocks for row in block.open_rows if row.is_ok]
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _block(attempt: _Attempt, block: Block) -> BlockResult:
    record, measured = block.record, measured_rows(block)
    figures = {name: metric.of(block) for name, metric in COMPARED.items()}
    return BlockResult(
        pair=record.pair,
        attempt=record.attempt,
        place=record.place,
        arm=record.arm,
        started=record.started,
        seconds=record.seconds,
        steal=record.steal,
        pressure=record.pressure,
        idle_share=record.idle_share,
        requests=len(measured),
        failures=dict(Counter(row.code for row in measured if not row.is_ok)),
        figures={name: None if value is None else finite(value) for name, value in figures.items()},
        rejections=attempt.rejections[record.arm],
        counts=attempt.counts,
    )


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write it into its folder. Raises `ConfigurationError`."""
    write_document(comparison, folder / COMPARISON_FILE)


def read_comparison(folder: Path) -> Comparison:
    """Return the comparison of a folder. Raises `ConfigurationError`."""
    return read_document(Comparison, folder / COMPARISON_FILE, "comparison")


def disagreements(folder: Path) -> list[str]:
    """Return where a folder's comparison is not what follows from its rows: a sentence for each field."""
    told, again = read_comparison(folder), comparison_of(folder)
    return differences(told, again)


def _means(pairs: _Pairs) -> dict[Arm, float]:
    means = {arm: geometric_mean(values) for arm, values in pairs.figures.items()}
    return {arm: mean for arm, mean in means.items() if mean is not None}


def _exp(value: float) -> float | None:
    return math.exp(value) if math.isfinite(value) else None


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
