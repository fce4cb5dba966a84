"""The forms of a comparison: JSON, Markdown and one HTML page, from the same model."""

from pathlib import Path

from bellhousing_conformance.compare import markdown, pictures
from bellhousing_conformance.compare.blocks import Block, read_blocks
from bellhousing_conformance.compare.comparison import Comparison, write_comparison
from bellhousing_conformance.load.record import write_whole
from bellhousing_conformance.report.html import environment

PAGE_FILE, MARKDOWN_FILE = "comparison.html", "comparison.md"


def write_forms(comparison: Comparison, folder: Path) -> None:
    """Write every form into the comparison's folder. Raises `ConfigurationError`."""
    write_comparison(comparison, folder)
    forms = {MARKDOWN_FILE: markdown.markdown(comparison), PAGE_FILE: html(comparison, read_blocks(folder))}
    for name, text in forms.items():
        write_whole(text, folder / name)


def html(comparison: Comparison, blocks: list[Block]) -> str:
    """Return the page of a comparison, with the rows of its blocks."""
    counted = {(each.pair, each.attempt) for each in comparison.blocks if each.counts}
    kept = [block for block in blocks if (block.record.pair, block.record.attempt) in counted]
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(
            comparison=comparison,
            titles={arm: markdown.side_title(comparison, arm) for arm in markdown.sides()},
            divergence=markdown.divergence_note(comparison),
            load=list(markdown.load_lines(comparison)),
            forest=pictures.forest(comparison),
            distributions=pictures.distributions(kept),
            timelines=pictures.timelines(comparison),
            host=pictures.host(comparison),
            names=pictures.NAMES,
            quantity=pictures.quantity,
        )
    )
