"""The forms of a comparison: JSON, Markdown and one HTML page, from the same model."""

from pathlib import Path

from bellhousing_conformance.compare.comparison import Comparison, write_comparison

PAGE_FILE, MARKDOWN_FILE = "comparison.html", "comparison.md"


def write_forms(comparison: Comparison, folder: Path) -> None:
    """Write every form into the comparison's folder. Raises `ConfigurationError`."""
    write_comparison(comparison, folder)
