"""JUnit XML: what continuous integration reads."""

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from bellhousing_conformance.report.model import ConformanceReport, Result
from bellhousing_conformance.report.reading import figure_text, standing, title
from bellhousing_conformance.verdict import Status

SKIPPED = (Status.NOT_SUPPORTED, Status.NOT_RUN, Status.SKIPPED, Status.INCONCLUSIVE, Status.XFAIL)
FORMS: Mapping[Status, str] = {Status.FAIL: "failure", Status.XPASS: "failure", Status.ERROR: "error"} | dict.fromkeys(
    SKIPPED, "skipped"
)
COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def junit(report: ConformanceReport) -> str:
    """Return the XML: a suite for each profile, a case for each check; what is skipped keeps its type."""
    root = Element("testsuites", {"name": "bellhousing conformance", **_totals(report.checks, report.seconds)})
    for profile in report.profiles:
        results = [result for result in report.checks if result.profile == profile.name]
        totals = _totals(results, sum(result.seconds for result in results))
        named = {"name": profile.name, "timestamp": report.began.isoformat(timespec="seconds")}
        suite = SubElement(root, "testsuite", named | totals)
        _properties(suite, report, profile.verdict)
        for result in results:
            _case(suite, result)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _totals(results: Sequence[Result], seconds: float) -> dict[str, str]:
    forms = [FORMS.get(result.status) for result in results]
    count = {name: str(forms.count(form)) for name, form in COUNTED.items()}
    return {"tests": str(len(results)), **count, "time": f"{seconds:.3f}"}


def _properties(suite: Element, report: ConformanceReport, verdict: str) -> None:
    """Tell what was judged: most readers show it beside the suite."""
    subject, held = report.subject, standing(report)
    told = {
        "target": title(report), "engine": f"{subject.engine} {subject.engine_version}".strip(), "tier": report.tier,
        "seed": str(report.seed), "verdict": verdict, "conformance": held.word, "suite": report.suite.digest,
    }  # fmt: skip
    properties = SubElement(suite, "properties")
    for name, value in told.items():
        SubElement(properties, "property", name=name, value=_clean(value))


def _case(suite: Element, result: Result) -> None:
    name = f"{result.id} {result.title}"
    place = f"conformance.{result.profile}"
    case = SubElement(suite, "testcase", classname=place, name=name, time=f"{result.seconds:.3f}")
    text = _clean("\n".join(_lines(result)))
    form = FORMS.get(result.status)
    if form is None:  # a pass tells its figures, a divergence its note
        SubElement(case, "system-out").text = text
        return
    first = result.problems[0] if result.problems else ""
    SubElement(case, form, type=str(result.status), message=_clean(f"{result.status}: {first}")).text = text


def _lines(result: Result) -> list[str]:
    known = [f"known issue: {result.issue}"] if result.issue else []
    again = [f"reproduce: {result.reproduce}"] if result.reproduce else []
    figures = [figure_text(figure) for figure in result.figures]
    return [*result.problems, *figures, *known, f"{result.requirement}, clause {result.clause}", *again]


def _clean(text: str) -> str:
    """Return the text without what XML 1.0 has no form for."""
    return "".join(
        [
            sign if sign in "\n\t" or " " <= sign < "\ud800" or "\ue000" <= sign < "\ufffe" or sign > "\uffff" else "�"
            for sign in text
        ]
    )
