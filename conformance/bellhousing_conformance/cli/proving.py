"""`prove`."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from bellhousing.cli.output import FAILED, say, stdout
from bellhousing.errors import ConfigurationError
from bellhousing_conformance.check import Check
from bellhousing_conformance.cli.interruption import run_until_interrupted
from bellhousing_conformance.cli.requirements import check_requirements
from bellhousing_conformance.cli.selection import selected
from bellhousing_conformance.proof.matrix import Cell, KillMatrix, markdown
from bellhousing_conformance.proof.prove import prove, run_clean
from bellhousing_conformance.report.folder import make_folder
from bellhousing_conformance.report.html import kill_matrix_html
from bellhousing_conformance.saboteurs.saboteur import Saboteur, saboteurs
from bellhousing_conformance.stats import bound_of_no_failures
from bellhousing_conformance.verdict import Status

EVERY = 40
"""The share of the pairs that no saboteur declares: with it a proof takes less than ten minutes on two processors."""

DEFAULT_FOLDER = Path("conformance-proof")


def add(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("prove")
    def prove_command(
        check: Annotated[list[str] | None, Option(help="Just this check; may be repeated.", metavar="ID")] = None,
        saboteur: Annotated[list[str] | None, Option(help="Just this saboteur; may be repeated.")] = None,
        declared: Annotated[bool, Option("--declared", help="Only the pairs that saboteurs declare.")] = False,
        every: Annotated[
            int | None, Option(help=f"Of the other pairs one in so many, by the seed; {EVERY}, or all named.", min=1)
        ] = None,
        seed: Annotated[int, Option(help="Seed of prompts and draws.", min=0)] = 1,
        clean: Annotated[
            int, Option(help="Instead: run without a defect from so many successive seeds, and bound false failures.")
        ] = 0,
        output: Annotated[Path, Option(help="Folder of the matrix.")] = DEFAULT_FOLDER,
    ) -> None:
        """Prove that every check passes on the simulator and sees a defect; write the kill matrix.

        Exits with 1 when a check fails on the clean oracle or kills nothing, or a saboteur survives. With --clean only
        the first is looked at, often; the checks are of smoke size, as always here.
        """
        check_requirements()
        checks, kinds = selected("full", "", check or ()), _chosen(saboteur or [])
        make_folder(output)
        if clean:
            _prove_clean(checks, range(seed, seed + clean), output)
            return
        share = every or (1 if check or saboteur else EVERY)
        matrix = run_until_interrupted(prove(checks, kinds, seed, every=0 if declared else share, told=_tell))
        _write(matrix, output)
        for fault in matrix.faults():
            stdout.print(fault, highlight=False, markup=False, soft_wrap=True)
        say(
            f"{len(checks)} checks, {len(kinds)} saboteurs, {matrix.seconds:g} s; matrix: {output / 'kill-matrix.html'}"
        )
        if matrix.faults():
            raise typer.Exit(FAILED)


def _prove_clean(checks: Sequence[Check], seeds: Sequence[int], folder: Path) -> None:
    """Run the checks on the oracle from each seed; tell how often one came out otherwise than PASS."""
    told = partial(_tell_clean, len(checks))
    rows = run_until_interrupted(run_clean(checks, seeds, told=told))
    runs = dict(zip(seeds, rows, strict=True))
    file = folder / "clean.json"
    kept = {seed: {check: cell.model_dump(mode="json") for check, cell in row.items()} for seed, row in runs.items()}
    file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    cells = [(seed, check, cell) for seed, row in runs.items() for check, cell in row.items()]
    wrong = [(seed, check, cell) for seed, check, cell in cells if cell.status is not Status.PASS]
    for seed, check, cell in wrong:
        told_of = f"seed {seed}, check {check}: expected PASS on the clean oracle, found {cell.status}: {cell.problem}"
        stdout.print(told_of, highlight=False, markup=False, soft_wrap=True)
    bounds = f"a run that fails: at most {bound_of_no_failures(len(rows)):.2g}" if not wrong else ""
    bounds += f", a check: at most {bound_of_no_failures(len(cells)):.2g} (95 %, 3/n)" if not wrong else ""
    say(f"{len(rows)} clean runs, {len(cells)} checks, {len(wrong)} not PASS; {bounds or 'no bound'}; {file}")
    if wrong:
        raise typer.Exit(FAILED)


def _tell_clean(count: int, seed: int, row: Mapping[str, Cell]) -> None:
    passed = sum(cell.status is Status.PASS for cell in row.values())
    say(f"seed {seed}: {passed} of {len(row)} passed, {count - len(row)} to come")
    for check, cell in row.items():
        if cell.status is not Status.PASS:
            say(f"seed {seed}, {check}: {cell.status}, {cell.problem}")


def _chosen(names: list[str]) -> dict[str, type[Saboteur]]:
    known = saboteurs()
    for name in names:
        if name not in known:
            raise ConfigurationError(f"no saboteur is named {name!r}; there are {', '.join(known)}")
    return {name: kind for name, kind in known.items() if not names or name in names}


def _tell(name: str, row: Mapping[str, Cell]) -> None:
    kills = [check for check, cell in row.items() if cell.is_kill]
    say(f"{name}: {len(row)} checks, seen by {', '.join(kills) or 'none'}")


def _write(matrix: KillMatrix, folder: Path) -> None:
    (folder / "kill-matrix.json").write_text(matrix.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / "kill-matrix.md").write_text(markdown(matrix), encoding="utf-8")
    (folder / "kill-matrix.html").write_text(kill_matrix_html(matrix), encoding="utf-8")
