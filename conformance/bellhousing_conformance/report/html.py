"""Self-contained HTML pages: no script, and nothing from the network. `templates/` has a page for each function."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bellhousing_conformance.check import CONFORMANT
from bellhousing_conformance.load.metrics import METRICS
from bellhousing_conformance.load.report import LoadReport
from bellhousing_conformance.loads import Load
from bellhousing_conformance.proof.matrix import CLEAN, KillMatrix
from bellhousing_conformance.report import load_plots, plots, reading, search_plots
from bellhousing_conformance.report.comparison import KINDS, changes, differences, matrix
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.search import Goodput

if TYPE_CHECKING:
    from jinja2 import Environment

SYMBOLS: dict[reading.Tone, str] = {"good": "✓", "bad": "✗", "trouble": "!", "open": "?", "note": "·", "empty": ""}
"""Beside each colour a sign, for those who do not see it."""


def html(report: ConformanceReport, folder: Path) -> str:
    """Return the page of a report, with pictures of the samples in its folder."""
    pictures = {
        "durations": plots.durations(report.checks),
        "quantiles": plots.quantiles(report.checks),
        "divergences": plots.divergences(report.checks),
        "charts": load_plots.charts(report, folder),
        "partings": plots.first_differences(report.checks),
    }
    return _page("report.html.j2", report=report, matrix=matrix([report]), **pictures)


def load_html(report: LoadReport, load: Load) -> str:
    """Return the page of a load run."""
    titles = {each.id: each.title for each in METRICS.values()}
    pictures = load_plots.charts_of_load(load)
    return _page("load.html.j2", report=report, info=load.run.info, metrics=titles, charts=pictures)


def goodput_html(found: Goodput) -> str:
    """Return the page of a search for the goodput."""
    return _page("goodput.html.j2", found=found, charts=search_plots.charts(found))


def matrix_html(reports: Sequence[ConformanceReport]) -> str:
    """Return the page of several reports side by side."""
    results = [result for report in reports for result in report.checks]
    known = {result.id: result for result in results}
    return _page("matrix.html.j2", reports=reports, matrix=matrix(reports), known=known)


def difference_html(before: ConformanceReport, after: ConformanceReport) -> str:
    """Return the page of what changed between two reports."""
    found = changes(before, after)
    return _page(
        "difference.html.j2", before=before, after=after, changes=found, kinds=KINDS,
        differences=differences(before, after), matrix=matrix([before, after]),
    )  # fmt: skip


def kill_matrix_html(proof: KillMatrix) -> str:
    """Return the page of the kill matrix."""
    return _page("kill-matrix.html.j2", proof=proof, rows=(CLEAN, *proof.defects), clean=CLEAN)


def environment() -> "Environment":
    """Return the environment of every template of the suite."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    made = Environment(
        loader=PackageLoader("bellhousing_conformance.report"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"reading": reading, "symbols": SYMBOLS, "tones": reading.TONES, "conformant": CONFORMANT}
    return made


def _page(template: str, **values: Any) -> str:
    return environment().get_template(template).render(values)
