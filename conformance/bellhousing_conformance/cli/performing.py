"""`performance`."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from bellhousing.cli.output import say
from bellhousing_conformance.cli.comparing import CompareDisplay, duration
from bellhousing_conformance.cli.interruption import run_until_interrupted
from bellhousing_conformance.cli.requirements import check_requirements
from bellhousing_conformance.load.record import write_whole
from bellhousing_conformance.performance.collect import SpeedOutcome, collect
from bellhousing_conformance.performance.document import document
from bellhousing_conformance.performance.entries import SpeedFile, load_speeds
from bellhousing_conformance.report.folder import make_folder
from bellhousing_conformance.report.outcome import INFRASTRUCTURE

DEFAULT_FOLDER = Path("conformance-performance")


def add(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("performance")
    def performance(
        config: Annotated[
            Path, Option(help="TOML file with a [[target]] for each backend; the first is compared with.")
        ],
        output: Annotated[Path, Option(help="Folder of the comparisons.")] = DEFAULT_FOLDER,
        publish: Annotated[Path, Option(help="The Markdown document to write.")] = DEFAULT_FOLDER / "PERFORMANCE.md",
        minutes: Annotated[float | None, Option(help="Most minutes of all of it; decides the number of pairs.")] = None,
        pairs: Annotated[int | None, Option(help="Pairs of blocks; the file's unless told.", min=1)] = None,
        block: Annotated[float | None, Option(help="Seconds of a block; the file's unless told.", min=1)] = None,
        resume: Annotated[bool, Option("--resume", help="Keep what is measured in the folder, and go on.")] = False,
    ) -> None:
        """Compare the speed of every backend of a list with that of the first, and write one document of it.

        The document is written after each comparison. A backend that is not installed is named as absent. Exits with 3
        when nothing could be compared, or something was broken off; what is not decided is a result.
        """
        check_requirements()
        told = _told(load_speeds(config), minutes, pairs, block)
        say(f"{len(told.others)} comparisons of {told.pairs} pairs: about {duration(told.seconds())}")
        command = _command(config, {"--minutes": minutes, "--pairs": pairs, "--block": block})
        for folder in (output, publish.parent):
            make_folder(folder)
        began = datetime.now(UTC)

        def publish_so_far(outcomes: Sequence[SpeedOutcome]) -> None:
            write_whole(document(told, outcomes, command=command, date=began), publish)

        outcomes = run_until_interrupted(collect(told, output, CompareDisplay, publish_so_far, resume=resume))
        say(f"results: {publish}; comparisons: {output}")
        if not any(each.comparison for each in outcomes) or any(each.stopped for each in outcomes):
            raise typer.Exit(INFRASTRUCTURE)


def _told(file: SpeedFile, minutes: float | None, pairs: int | None, block: float | None) -> SpeedFile:
    told: dict[str, Any] = {"pairs": pairs, "block_seconds": block}
    changed = file.model_copy(update={key: value for key, value in told.items() if value is not None})
    return changed if minutes is None else changed.within(minutes)


def _command(config: Path, told: Mapping[str, float | None]) -> str:
    """Return the command that measures the same again: with what decides how much is measured."""
    flags = [f"{name}={value:g}" for name, value in told.items() if value is not None]
    return shlex.join(["bellhousing", "conformance", "performance", "--config", str(config), *flags])
