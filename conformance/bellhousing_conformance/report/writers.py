"""The forms of a report: one file each, from the same model."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.load.record import write_whole
from bellhousing_conformance.report.html import html
from bellhousing_conformance.report.junit import junit
from bellhousing_conformance.report.markdown import markdown
from bellhousing_conformance.report.model import ConformanceReport
from bellhousing_conformance.report.samples import FOLDER

JSON_FILE = "report.json"
WRITERS: Mapping[str, Callable[[ConformanceReport, Path], str]] = {
    "report.xml": lambda report, _: junit(report),
    "report.md": lambda report, _: markdown(report),
    "report.html": html,
    JSON_FILE: lambda report, _: report.model_dump_json(indent=1) + "\n",
}
"""File name to writer; a writer gets the report and its folder, where the samples are.

The JSON is the last: where it is, the others are.
"""


def write_report(report: ConformanceReport, folder: Path) -> None:
    """Write every form of a report into a folder, in the place of an earlier report and of its samples.

    What else is in the folder stays. Raises `ConfigurationError` where a form cannot be written; then the folder has
    none, of an earlier report neither.
    """
    forms = {name: write(report, folder) for name, write in WRITERS.items()}
    for name in _samples_of_earlier(folder) - _samples(report):
        (folder / name).unlink(missing_ok=True)
    try:
        for name, form in forms.items():
            write_whole(form, folder / name)
    except ConfigurationError:
        for name in forms:
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        raise


def _samples_of_earlier(folder: Path) -> set[str]:
    """Return the files that the report of a folder names as its samples; none where there is no report."""
    try:
        report, _ = read_report(folder)
    except ConfigurationError:
        return set()
    return {name for name in _samples(report) if Path(name).parent == Path(FOLDER) and name.endswith(".jsonl")}


def _samples(report: ConformanceReport) -> set[str]:
    return {attempt.samples for result in report.checks for attempt in result.attempts}


def read_report(path: Path) -> tuple[ConformanceReport, Path]:
    """Return a report and its folder; `path` is either. Raises `ConfigurationError`."""
    file = path / JSON_FILE if path.is_dir() else path
    try:
        return ConformanceReport.model_validate_json(file.read_bytes()), file.parent
    except OSError as error:
        raise ConfigurationError(f"report {str(file)!r}: expected a file, found {error.strerror}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise ConfigurationError(
            f"report {str(file)!r}: not a report that this suite reads: {where}: {fault['msg']}"
        ) from error
