"""`results`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from bellhousing.cli.output import say, stderr
from bellhousing_conformance.cli.interruption import run_until_interrupted
from bellhousing_conformance.cli.progress import RunDisplay
from bellhousing_conformance.cli.requirements import check_requirements
from bellhousing_conformance.cli.selection import selected, tier_of
from bellhousing_conformance.report.html import matrix_html
from bellhousing_conformance.report.outcome import INFRASTRUCTURE
from bellhousing_conformance.report.reading import counted, counts, standing
from bellhousing_conformance.results.collect import Outcome, collect
from bellhousing_conformance.results.document import document
from bellhousing_conformance.results.entries import load_entries

DEFAULT_FOLDER = Path("conformance-results")


def add(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("results")
    def results_command(
        config: Annotated[Path, Option(help="TOML file with a [[target]] for each backend.")],
        output: Annotated[Path, Option(help="Folder of the reports and of matrix.html.")] = DEFAULT_FOLDER,
        publish: Annotated[Path, Option(help="The Markdown document to write.")] = DEFAULT_FOLDER / "RESULTS.md",
        tier: Annotated[str, Option(help="smoke, standard or full; the file's unless told.")] = "",
        profile: Annotated[str, Option(help="Profiles, separated by commas; all unless told.")] = "",
    ) -> None:
        """Judge every backend of a list, one after the other, and write one document of the results.

        A backend that is not installed is named as absent. Exits with 3 when none could be judged, or one did not
        start; failures of backends are results, and change nothing.
        """
        check_requirements()
        told = load_entries(config)
        if tier:
            told = told.model_copy(update={"tier": tier_of(tier)})
        checks = selected(told.tier, profile, ())
        command = f"bellhousing conformance results --config {config} --tier {told.tier}"
        command += f" --profile {profile}" if profile else ""
        began = datetime.now(UTC)
        display = RunDisplay(stderr, checks)
        outcomes = run_until_interrupted(collect(told, checks, output, display, _tell))
        reports = [outcome.report for outcome in outcomes if outcome.report]
        publish.parent.mkdir(parents=True, exist_ok=True)
        publish.write_text(document(outcomes, command=command, date=began), encoding="utf-8")
        if reports:
            (output / "matrix.html").write_text(matrix_html(reports), encoding="utf-8")
        say(f"results: {publish}; reports: {output}")
        if not reports or any(outcome.not_started or outcome.is_interrupted for outcome in outcomes):
            raise typer.Exit(INFRASTRUCTURE)


def _tell(outcome: Outcome) -> None:
    if outcome.report:
        told = f"{standing(outcome.report).word.lower()}: {counted(counts(outcome.report))}"
    else:
        told = f"absent: {outcome.absent}" if outcome.absent else f"did not start: {outcome.not_started}"
    say(f"{outcome.entry.name}: {told}")
