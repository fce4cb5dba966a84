"""`bellhousing migrate`: from another server's launch to a `bellhousing.toml`."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from bellhousing import registry
from bellhousing.cli.output import Json, print_json, print_table, say, stderr
from bellhousing.errors import ConfigurationError, NotFound
from bellhousing.migration import Draft, Finding, Migration, Origin
from bellhousing.migration.launch import read_launch
from bellhousing.plugins import Plugins

INCOMPLETE = 3
WORDS = {"kept": "kept", "changed": "changed", "lost": "CANNOT BE KEPT", "unknown": "NOT KNOWN"}


def add(app: typer.Typer, plugins: Plugins) -> None:
    """Add the command."""

    @app.command(context_settings={"ignore_unknown_options": True})
    def migrate(
        origin: Annotated[str, Argument(metavar="ORIGIN", help="The server that runs today.")],
        sources: Annotated[
            list[str],
            Argument(
                metavar="SOURCE...",
                help="Its command, as one text or as words after `--`; KEY=VALUE of its environment; a file with"
                " either; `-` for standard input.",
            ),
        ],
        output: Annotated[Path | None, Option(help="Write the configuration here; a new file.")] = None,
        json: Json = False,
    ) -> None:
        """Write the `bellhousing.toml` that does what another server's launch does, and tell what cannot be kept.

        The configuration goes to standard output, the table to standard error. Secrets are never printed. Exit code 0:
        everything has its effect; 3: something cannot be kept, or is not known.

        Examples:

        `bellhousing migrate ORIGIN launch.sh > bellhousing.toml`

        `bellhousing migrate ORIGIN --output bellhousing.toml -- docker run IMAGE --flag value`
        """
        migration = _migrated(_chosen(list(plugins.migrations()), origin), sources)
        if output:
            _write(output, migration.toml())
        if json:
            findings = [dataclasses.asdict(finding) for finding in migration.findings]
            print_json({"toml": migration.toml(), "complete": migration.is_complete, "findings": findings})
        else:
            _print(migration, output)
        if not migration.is_complete:
            raise typer.Exit(INCOMPLETE)


def _chosen(origins: Sequence[Origin], name: str) -> Origin:
    known = {origin.name: origin for origin in origins}
    if name not in known:
        told = "; ".join(f"{origin.name} reads {origin.reads}" for origin in origins)
        raise NotFound("origin", name, known, hint=f"{told}." if told else "Install the backend that takes over.")
    return known[name]


def _migrated(origin: Origin, sources: Sequence[str]) -> Migration:
    launch = read_launch(sources, origin.is_document, sys.stdin.read)
    if not (launch.commands or launch.environment or launch.documents):
        raise ConfigurationError(f"SOURCE: expected {origin.reads}, found nothing")
    draft = Draft(registry.load(origin.backend))
    for note in launch.notes:
        draft.note(note)
    origin.read(launch, draft)
    return draft.finished()


def _write(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError as error:
        raise ConfigurationError(f"--output {str(file)!r}: expected a new file, found one") from error
    except OSError as error:
        raise ConfigurationError(f"--output {str(file)!r}: expected a place to write, found {error}") from error


def _print(migration: Migration, output: Path | None) -> None:
    rows = [_row(finding) for finding in migration.findings]
    print_table(("", "given", "becomes", "why"), rows, stderr)
    if output:
        say(f"Wrote {output}.")
    else:
        typer.echo(migration.toml(), nl=False)


def _row(finding: Finding) -> tuple[str, ...]:
    return WORDS[finding.verdict], finding.source, finding.becomes, finding.reason
