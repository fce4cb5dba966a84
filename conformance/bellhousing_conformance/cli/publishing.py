"""`results`."""

from collections.abc import Sequence
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
from bellhousing_conformance.oracles.reference import open_reference
from bellhousing_conformance.report.folder import make_folder
from bellhousing_conformance.report.html import matrix_html
from bellhousing_conformance.report.outcome import INFRASTRUCTURE
from bellhousing_conformance.report.reading import counted, counts, standing
from bellhousing_conformance.results.collect import Asked, Outcome, collect
from bellhousing_conformance.results.document import document
from bellhousing_conformance.results.entries import Entry, load_entries
from bellhousing_conformance.verdict import Tier

DEFAULT_FOLDER = Path("conformance-results")


def add(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("results")
    def results_command(
        config: Annotated[Path, Option(help="TOML file with a [[target]] for each backend.")],
        output: Annotated[Path, Option(help="Folder of the reports and of matrix.html.")] = DEFAULT_FOLDER,
        publish: Annotated[Path, Option(help="The Markdown document to write.")] = DEFAULT_FOLDER / "RESULTS.md",
        tier: Annotated[str, Option(help="smoke, standard or full; the file's unless told.")] = "",
        profile: Annotated[str, Option(help="Profiles, separated by commas; the file's unless told.")] = "",
        resume: Annotated[bool, Option("--resume", help="Keep reports that answer the same.")] = False,
    ) -> None:
        """Judge every backend of a list, one after the other, and write one document of the results.

        The document is written after each backend. A backend that is not installed is named as absent. Exits with 3
        when none could be judged, or one did not start; failures of backends are results, and change nothing.
        """
        check_requirements()
        told = load_entries(config)
        asked = [_asked(entry, tier, profile, told.tier) for entry in told.target]
        command = f"bellhousing conformance results --config {config}"
        command += f" --tier {tier}" if tier else ""
        command += f" --profile {profile}" if profile else ""
        for folder in (output, publish.parent):
            make_folder(folder)
        began = datetime.now(UTC)

        def publish_so_far(outcomes: Sequence[Outcome]) -> None:
            _tell(outcomes[-1])
            publish.write_text(document(outcomes, command=command, date=began), encoding="utf-8")

        display = RunDisplay(stderr, [check for each in asked for check in each.checks])
        outcomes = run_until_interrupted(collect(asked, told.seed, output, display, publish_so_far, resume=resume))
        reports = [outcome.report for outcome in outcomes if outcome.report]
        if reports:
            (output / "matrix.html").write_text(matrix_html(reports), encoding="utf-8")
        say(f"results: {publish}; reports: {output}")
        if not reports or any(outcome.not_started or outcome.is_interrupted for outcome in outcomes):
            raise typer.Exit(INFRASTRUCTURE)


def _asked(entry: Entry, tier: str, profile: str, usual: Tier) -> Asked:
    """Return what to ask of an entry; without its reference where that is absent, so that LP3 and LP4 are NOT_RUN.

    Raises `ConfigurationError`.
    """
    chosen = tier_of(tier) if tier else entry.tier or usual
    checks = selected(chosen, profile or ",".join(entry.profiles), ())
    is_there = entry.reference is not None and entry.reference.is_dir()
    reference = open_reference(entry.reference) if entry.reference and is_there else None
    return Asked(entry, chosen if tier else entry.size or chosen, checks, reference)


def _tell(outcome: Outcome) -> None:
    if outcome.report:
        told = f"{standing(outcome.report).word.lower()}: {counted(counts(outcome.report))}"
    else:
        told = f"absent: {outcome.absent}" if outcome.absent else f"did not start: {outcome.not_started}"
    say(f"{outcome.entry.name}: {told}")
