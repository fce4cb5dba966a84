"""JUnit XML: what continuous integration reads."""

from collections.abc import Callable, Mapping
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from bellhousing_conformance.report.model import ConformanceReport, Result
from bellhousing_conformance.verdict import Status

SKIPPED = (Status.NOT_SUPPORTED, Status.NOT_RUN, Status.SKIPPED, Status.INCONCLUSIVE, Status.XFAIL)
FORMS: Mapping[Status, str] = {Status.FAIL: "failure", Status.XPASS: "failure", Status.ERROR: "error"} | dict.fromkeys(
    SKIPPED, "skipped"
)


def junit(report: ConformanceReport) -> str:
    """Return the XML: a suite for each profile, a case for each check; what is skipped keeps its type."""
    root = Element("testsuites", name="bellhousing conformance", time=f"{report.seconds:g}")
    for profile in report.profiles:
        results = [result for result in report.checks if result.profile == profile.name]
        count = _counter(results)
        suite = SubElement(
            root, "testsuite", name=profile.name, tests=str(len(results)), failures=count("failure"),
            errors=count("error"), skipped=count("skipped"), timestamp=report.began.isoformat(),
        )  # fmt: skip
        for result in results:
            _case(suite, result)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _counter(results: list[Result]) -> Callable[[str], str]:
    return lambda form: str(sum(FORMS.get(result.status) == form for result in results))


def _case(suite: Element, result: Result) -> None:
    name = f"{result.id} {result.title}"
    case = SubElement(suite, "testcase", classname=result.profile, name=name, time=f"{result.seconds:g}")
    text = _clean("\n".join([*result.problems, f"reproduce: {result.reproduce}"]))
    form = FORMS.get(result.status)
    if form is not None:
        SubElement(case, form, type=str(result.status), message=_clean((result.problems or ("",))[0])).text = text
    elif result.status is Status.DIVERGENCE:
        SubElement(case, "system-out").text = text


def _clean(text: str) -> str:
    """Return the text without what XML 1.0 has no form for."""
    return "".join(
        [
            sign if sign in "\n\t" or " " <= sign < "\ud800" or "\ue000" <= sign < "\ufffe" or sign > "\uffff" else "�"
            for sign in text
        ]
    )
