"""The kill matrix: which check saw which saboteur."""

from collections.abc import Mapping

from bellhousing_conformance.verdict import Frozen, Status

CLEAN = "clean"
"""The name of the column without a defect, through the same proxy."""


class Cell(Frozen):
    """A check through a saboteur."""

    status: Status
    problem: str = ""
    seconds: float = 0.0

    @property
    def is_kill(self) -> bool:
        """Tell whether the check saw the defect."""
        return self.status is Status.FAIL


class KillMatrix(Frozen):
    """`cells[saboteur][check]`; a cell that was not run is missing. `declared` are each saboteur's `seen_by`."""

    checks: tuple[str, ...]
    defects: dict[str, str]
    declared: dict[str, tuple[str, ...]]
    cells: dict[str, dict[str, Cell]]
    seed: int
    seconds: float

    def faults(self) -> list[str]:
        """Return what is wrong with the proof, a sentence each; none when every check is proven."""
        clean = self.cells.get(CLEAN, {})
        faults = [
            f"check {check}: expected PASS on the clean oracle, found {_told(clean.get(check))}"
            for check in self.checks
            if check not in clean or clean[check].status is not Status.PASS
        ]
        faults += [f"check {check} kills no saboteur" for check in self.checks if not self.killed_by(check)]
        for name in self.defects:
            faults += self._saboteur_faults(name)
        return faults

    def killed_by(self, check: str) -> list[str]:
        """Return the saboteurs that a check sees."""
        return [name for name in self.defects if _is_kill(self.cells.get(name, {}), check)]

    def _saboteur_faults(self, name: str) -> list[str]:
        row = self.cells.get(name, {})
        missed = [check for check in self.declared[name] if check in self.checks and not _is_kill(row, check)]
        faults = [f"saboteur {name}: expected {check} to see it, found {_told(row.get(check))}" for check in missed]
        if not any(cell.is_kill for cell in row.values()):
            faults.append(f"saboteur {name} survives every check")
        return faults


def markdown(matrix: KillMatrix) -> str:
    """Return the matrix as Markdown: a row for each saboteur, `x` where a check saw it, `!` for trouble."""
    head = "| defect | " + " | ".join(matrix.checks) + " |"
    lines = ["# Kill matrix", "", head, "|---|" + "---|" * len(matrix.checks)]
    for name in (CLEAN, *matrix.defects):
        row = matrix.cells.get(name, {})
        lines.append(f"| {name} | " + " | ".join(_mark(row.get(check)) for check in matrix.checks) + " |")
    faults = matrix.faults()
    lines += (
        ["", *(f"- {fault}" for fault in faults)] if faults else ["", "Every check kills, every saboteur is killed."]
    )
    return "\n".join(lines) + "\n"


def _mark(cell: Cell | None) -> str:
    if cell is None:
        return " "
    return {Status.FAIL: "x", Status.PASS: "·"}.get(cell.status, "!")


def _is_kill(row: Mapping[str, Cell], check: str) -> bool:
    return check in row and row[check].is_kill


def _told(cell: Cell | None) -> str:
    if cell is None:
        return "no result"
    return f"{cell.status}: {cell.problem}" if cell.problem else str(cell.status)
