"""Documents made by a program: written by `make docs`, compared by `make check`."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path


def write_or_check(path: Path, text: str, arguments: Sequence[str] | None = None) -> int:
    """Write `text` to `path`, or with `--check` among the arguments (by default the command line's) compare the two.

    Return 0, or 1 when they differ; the first differing lines are printed.
    """
    parser = argparse.ArgumentParser(description=f"Write {path.name} or check it.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the document is out of date")
    shown = f"{path.parent.name}/{path.name}"
    found = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not parser.parse_args(arguments).check:
        path.write_text(text, encoding="utf-8")
        print(f"{shown}: written")
        return 0
    if found == text:
        print(f"{shown}: up to date")
        return 0
    lines = difflib.unified_diff(found.splitlines(), text.splitlines(), "committed", "generated", lineterm="", n=0)
    print(f"{shown} is out of date; `make docs` writes it:", *list(lines)[:20], sep="\n", file=sys.stderr)
    return 1


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Return the lines of a Markdown table. Bars inside cells are escaped."""
    cells = [" | ".join(cell.replace("|", "\\|") for cell in row).rstrip() for row in [head, *rows]]
    rule = "|".join("---" for _ in head)
    return [f"| {cells[0]} |", f"|{rule}|", *(f"| {line} |" for line in cells[1:])]
