"""One self-contained HTML page. `report.html.j2` is the page; it gets the report and nothing from the network."""

from pathlib import Path

from bellhousing_conformance.report.markdown import figure_text
from bellhousing_conformance.report.model import ConformanceReport


def html(report: ConformanceReport, _folder: Path) -> str:
    """Return the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("bellhousing_conformance.report")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["figure"] = figure_text
    return environment.get_template("report.html.j2").render(report=report)
