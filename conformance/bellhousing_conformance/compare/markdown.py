"""A comparison as Markdown."""

from collections.abc import Iterator
from typing import Literal

from bellhousing_conformance.compare.comparison import Comparison, MetricResult
from bellhousing_conformance.compare.sides import ISO_PRECISION
from bellhousing_conformance.load.workload import Lengths
from bellhousing_conformance.report.markdown import in_line, table
from bellhousing_conformance.report.model import Subject

RATIOS = """Ratios are A's to B's, of geometric means over the blocks; below 1 A's figure is the smaller one. A floor is
what A seems to differ from itself by."""
NO_DIVERGENCE = (
    "How far their distributions are apart (KL) is not measured here: a faster side may be a coarser one. "
    "`bellhousing conformance run --target A --against B --check Q02` measures it."
)
HEAD = ("A is", "ratio of geometric means [95 %]")


def markdown(comparison: Comparison) -> str:
    """Return the comparison as Markdown."""
    a, b = (side_title(comparison, arm) for arm in sides())
    lines = [f"# {in_line(a)} and {in_line(b)}", "", precision_line(comparison), ""]
    lines += [f"> {in_line(reason)}." for reason in (*comparison.reasons, *comparison.cautions)]
    lines += ["", *metrics_table(comparison), "", *load_lines(comparison), ""]
    lines.append(RATIOS)
    return "\n".join(lines) + "\n"


def precision_line(comparison: Comparison) -> str:
    """Return whether both sides have the same precision, in bold; where they have not, what that leaves open."""
    label = in_line(comparison.precision)
    rest = f" {divergence_note(comparison)}" if divergence_note(comparison) else ""
    return f"**{label[0].upper()}{label[1:]}.**{rest}"


def divergence_note(comparison: Comparison) -> str:
    """Return what stands beside speeds of two precisions; empty where there is one."""
    return "" if comparison.precision.startswith(ISO_PRECISION) else NO_DIVERGENCE


def sides() -> tuple[Literal["a"], Literal["b"]]:
    """Return the sides in order."""
    return "a", "b"


def side_title(comparison: Comparison, arm: Literal["a", "b"]) -> str:
    """Return what to call a side: its name, engine, version and precision."""
    return f"{arm.upper()}: {subject_title(comparison.subjects[arm], getattr(comparison.settings, arm).name)}"


def subject_title(subject: Subject, name: str) -> str:
    """Return a name with the engine, its version and the precision, where they are told."""
    return " ".join(f"{name} {subject.engine} {subject.engine_version} {subject.precision}".split())


def metrics_table(comparison: Comparison) -> list[str]:
    """Return the table of the metrics as lines."""
    return table(HEAD, [_row(each) for each in comparison.metrics])


def _row(metric: MetricResult) -> tuple[str, ...]:
    word = f"**{metric.word}**" + (f": {in_line(metric.reason)}" if metric.reason else "")
    if metric.word == "equivalent" and metric.margin is not None:
        word += f" within ±{metric.margin * 100:.2g} %"
    return word, in_line(metric.text)


def load_lines(comparison: Comparison) -> Iterator[str]:
    """Yield what was sent, and how."""
    settings = comparison.settings
    end = "until the models end them" if settings.natural else "whole"
    yield (
        f"Open loop of {comparison.calibration.rate:g} requests/s (Poisson), closed loop of {settings.concurrency}, "
        f"blocks of {settings.block_seconds:g} s; prompts of {lengths_text(settings.prompt_tokens)} tokens, outputs of "
        f"{lengths_text(settings.output_tokens)}, {end}; seed {settings.seed}. Of the pairs, "
        f"{comparison.pairs} counted, {comparison.rejected_pairs} were rejected and {comparison.broken_off} broken off."
    )


def lengths_text(lengths: Lengths) -> str:
    """Return lengths as people read them."""
    return f"{lengths.low}" if lengths.low == lengths.high else f"{lengths.low} to {lengths.high}"
