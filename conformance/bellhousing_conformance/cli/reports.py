"""`verify`, `diff` and `matrix`: what is read off reports."""

from pathlib import Path
from typing import Annotated

import typer

from bellhousing.cli.output import FAILED, Json, print_json, print_table, stdout
from bellhousing_conformance.check import catalogue
from bellhousing_conformance.cli.requirements import check_requirements
from bellhousing_conformance.report.comparison import changes
from bellhousing_conformance.report.comparison import matrix as matrix_of
from bellhousing_conformance.report.verify import disagreements
from bellhousing_conformance.report.writers import read_report

ReportPath = Annotated[Path, typer.Argument(help="report.json or its folder.", show_default=False)]


def add(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    def verify(report: ReportPath) -> None:
        """Compute every figure of a report again from its raw samples. Exits with 1 when one is not borne out."""
        check_requirements()
        told, folder = read_report(report)
        found = disagreements(told, folder, {check.id: check for check in catalogue()})
        for fault in found:
            stdout.print(fault, highlight=False, markup=False, soft_wrap=True)
        if found:
            raise typer.Exit(FAILED)
        stdout.print(f"{len(told.checks)} checks: every figure follows from the samples")

    @app.command()
    def diff(before: ReportPath, after: ReportPath, json: Json = False) -> None:
        """Tell which checks came out differently in two reports. Exits with 1 when some did."""
        found = changes(read_report(before)[0], read_report(after)[0])
        if json:
            print_json([change.model_dump() for change in found])
        elif found:
            print_table(("CHECK", "BEFORE", "AFTER", ""), [(c.id, c.before, c.after, c.problem) for c in found])
        raise typer.Exit(FAILED if found else 0)

    @app.command()
    def matrix(
        reports: Annotated[list[Path], typer.Argument(help="Reports or their folders.", show_default=False)],
        json: Json = False,
    ) -> None:
        """Show several reports side by side, a column each."""
        found = matrix_of([read_report(path)[0] for path in reports])
        if json:
            print_json(found.model_dump())
            return
        rows = [(name, *cells) for name, cells in (*found.cells.items(), *found.checks.items())]
        print_table(("", *found.subjects), rows)
