"""`verify`, `diff` and `matrix`: what is read off reports."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bellhousing.cli.output import FAILED, Json, print_json, print_rows, print_table, stdout, table
from bellhousing_conformance.check import catalogue
from bellhousing_conformance.cli.colours import COLOURS, coloured
from bellhousing_conformance.cli.requirements import check_requirements
from bellhousing_conformance.compare.comparison import COMPARISON_FILE
from bellhousing_conformance.compare.comparison import disagreements as comparison_disagreements
from bellhousing_conformance.load.record import REPORT_FILE
from bellhousing_conformance.load.report import disagreements as load_disagreements
from bellhousing_conformance.report.comparison import KINDS, Change, Difference, Matrix, changes, differences
from bellhousing_conformance.report.comparison import matrix as matrix_of
from bellhousing_conformance.report.folder import writing
from bellhousing_conformance.report.html import difference_html, matrix_html
from bellhousing_conformance.report.markdown import difference_markdown, matrix_markdown
from bellhousing_conformance.report.reading import Cell, word
from bellhousing_conformance.report.search import SEARCH_FILE
from bellhousing_conformance.report.search import disagreements as search_disagreements
from bellhousing_conformance.report.verify import another_suite, disagreements
from bellhousing_conformance.report.writers import read_report

ReportPath = Annotated[Path, typer.Argument(help="report.json or its folder.", show_default=False)]

HtmlFile = Annotated[Path | None, typer.Option(help="Write it as one HTML file, too.", metavar="FILE")]
MarkdownFile = Annotated[Path | None, typer.Option(help="Write it as Markdown, too.", metavar="FILE")]


def add(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    def verify(report: ReportPath) -> None:
        """Compute every figure of a report, load run, search or comparison again from its raw data.

        Exits with 1 when one is not so, or a report tells more than its samples and the catalogue of checks bear out.
        """
        check_requirements()
        for file, what, faults_of in (
            (REPORT_FILE, "load run", load_disagreements),
            (COMPARISON_FILE, "comparison", comparison_disagreements),
            (SEARCH_FILE, "search", search_disagreements),
        ):
            if (report / file).is_file():
                _verify_rows(what, faults_of(report))
                return
        told, folder = read_report(report)
        found = disagreements(told, folder, {check.id: check for check in catalogue()})
        for fault in (*found, *filter(None, [another_suite(told)])):
            stdout.print(fault, highlight=False, markup=False, soft_wrap=True)
        if found:
            raise typer.Exit(FAILED)
        stdout.print(f"{len(told.checks)} checks: every figure follows from the samples")

    @app.command()
    def diff(
        before: ReportPath, after: ReportPath, json: Json = False, html: HtmlFile = None, markdown: MarkdownFile = None
    ) -> None:
        """Tell which checks came out differently in two reports. Exits with 1 when some did."""
        old, new = read_report(before)[0], read_report(after)[0]
        found, others = changes(old, new), differences(old, new)
        _write(html, lambda: difference_html(old, new))
        _write(markdown, lambda: difference_markdown(found, others))
        if json:
            print_json([change.model_dump() for change in found])
        else:
            _show_changes(found, others)
        raise typer.Exit(FAILED if found else 0)

    @app.command()
    def matrix(
        reports: Annotated[list[Path], typer.Argument(help="Reports or their folders.", show_default=False)],
        json: Json = False,
        html: HtmlFile = None,
        markdown: MarkdownFile = None,
    ) -> None:
        """Show several reports side by side, a column each."""
        told = [read_report(path)[0] for path in reports]
        found = matrix_of(told)
        _write(html, lambda: matrix_html(told))
        _write(markdown, lambda: matrix_markdown(found))
        if json:
            print_json(found.model_dump())
        else:
            _show_matrix(found)


def _verify_rows(what: str, found: Sequence[str]) -> None:
    for fault in found:
        stdout.print(fault, highlight=False, markup=False, soft_wrap=True)
    if found:
        raise typer.Exit(FAILED)
    stdout.print(f"{what}: every figure follows from the rows")


def _show_changes(found: Sequence[Change], others: Sequence[Difference]) -> None:
    if not found:
        stdout.print("every check came out as before")
    shown = table(("CHECK", "BEFORE", "AFTER", "", "FOUND"), ())
    for change in found:
        shown.add_row(
            change.id, coloured(change.before), coloured(change.after), KINDS[change.kind], Text(change.problem)
        )
    if found:
        print_rows(shown)
    if others:
        print_table(("NOT THE SAME", "BEFORE", "AFTER"), [(each.what, each.before, each.after) for each in others])


def _show_matrix(found: Matrix) -> None:
    shown = table(("", *found.subjects), ())
    shown.add_row("conformance", *(Text(each.word, COLOURS[each.tone]) for each in found.standings))
    for name, cells in found.cells.items():
        shown.add_row(name, *(_cell(cell) for cell in cells))
    shown.add_section()
    for name, statuses in found.checks.items():
        shown.add_row(name, *map(coloured, statuses))
    print_rows(shown)
    for caution in found.cautions:
        stdout.print(Text(caution), soft_wrap=True)


def _cell(cell: Cell) -> Text:
    count = f" {cell.passed}/{cell.total}" if cell.verdict else ""
    return Text(f"{word(cell.verdict)}{count}", COLOURS[cell.tone])


def _write(file: Path | None, page: Callable[[], str]) -> None:
    if file is not None:
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(page(), encoding="utf-8")
