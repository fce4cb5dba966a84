"""What people read off a report: honest words, safe pages."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from bellhousing_conformance.check import CONFORMANT
from bellhousing_conformance.load.report import judged
from bellhousing_conformance.loads import Load
from bellhousing_conformance.proof.matrix import CLEAN, Cell, KillMatrix
from bellhousing_conformance.report.comparison import changes, differences, matrix
from bellhousing_conformance.report.html import difference_html, html, kill_matrix_html, load_html, matrix_html
from bellhousing_conformance.report.junit import junit
from bellhousing_conformance.report.markdown import difference_markdown, markdown, matrix_markdown
from bellhousing_conformance.report.model import Attempt, ConformanceReport, Host, Result, Subject, Suite
from bellhousing_conformance.report.outcome import exit_code, is_conformant, profiles_of
from bellhousing_conformance.report.plots import LEAST_P_VALUES, divergences, durations, quantiles
from bellhousing_conformance.report.reading import cell, detectable, figure_text, problems, standing
from bellhousing_conformance.verdict import Figure, Judgement, Status
from tests.conformance.load.rows import FLOOR, perfect

HOSTILE = '<script>alert("x")</script>|\n# heading'


def result(check_id: str, status: Status, profile: str = "core", **values: object) -> Result:
    told = {
        "title": f"title of {check_id}", "requirement": "MUST", "clause": "bellhousing.v1.Usage", "statistic": "s",
        "finds": "f", "reproduce": f"bellhousing conformance run --check {check_id}", "seconds": 1.5,
    }  # fmt: skip
    return Result.model_validate(told | {"id": check_id, "status": status, "profile": profile} | values)


def attempted(status: Status, *figures: Figure, problems: Sequence[str] = ()) -> tuple[Attempt, ...]:
    judgement = Judgement(status=status, figures=figures, problems=tuple(problems))
    return (Attempt(number=1, alpha=0.01, seconds=1, judgement=judgement, samples="samples/x.jsonl", sha256="0" * 64),)


def report_of(*results: Result, left_out: Sequence[str] = (), failure: str = "", **subject: str) -> ConformanceReport:
    profiles = profiles_of(results)
    told = {"address": "127.0.0.1:1", "model": "m", "backend": "b"} | subject
    return ConformanceReport(
        suite=Suite(version="1", digest="sha256:s", contract="v1", contract_digest="sha256:c"),
        subject=Subject.model_validate(told),
        host=Host(system="Linux", python="3", grpcio="1", cpus=2),
        seed=1,
        tier="standard",
        began=datetime(2030, 1, 31, tzinfo=UTC),
        seconds=3,
        profiles=profiles,
        checks=tuple(results),
        left_out=tuple(left_out),
        conformant=is_conformant(profiles, left_out),
        exit_code=exit_code(results, failure=failure),
        failure=failure,
    )


def whole(status: Status = Status.PASS) -> list[Result]:
    """A result of each profile that conformance asks for; the first has the status."""
    first, *others = CONFORMANT
    return [result("C01", status, first), *(result(f"Z-{name}", Status.PASS, name) for name in others)]


class Outline(HTMLParser):
    """What a page loads, runs and links to, and which ids it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name == "src":
                self.sources.append(value or "")


def test_a_whole_report_that_passed_is_conformant() -> None:
    assert standing(report_of(*whole())).word == "Conformant"


def test_a_report_that_left_checks_out_does_not_show_conformance() -> None:
    held = standing(report_of(*whole(), left_out=("C02",)))
    assert held.word == "Conformance not shown"
    assert "C02" in held.reasons[0]


@pytest.mark.parametrize("status", [Status.INCONCLUSIVE, Status.NOT_RUN, Status.SKIPPED, Status.XFAIL, Status.ERROR])
def test_what_is_not_decided_does_not_show_conformance(status: Status) -> None:
    held = standing(report_of(*whole(status)))
    assert held.word == "Conformance not shown"
    assert held.reasons == (f"core: {status.replace('_', ' ')} C01",)


@pytest.mark.parametrize("status", [Status.FAIL, Status.XPASS])
def test_a_failure_of_a_must_is_not_conformant(status: Status) -> None:
    assert standing(report_of(*whole(status))).word == "Not conformant"


def test_a_profile_of_which_nothing_passed_does_not_look_like_a_success() -> None:
    assert cell(report_of(result("A01", Status.NOT_SUPPORTED, "adapters")), "adapters").verdict == "NOT_SUPPORTED"
    undecided = report_of(result("A01", Status.INCONCLUSIVE, "adapters", requirement="SHOULD"))
    assert cell(undecided, "adapters").verdict == "PARTIAL"
    assert cell(undecided, "core").verdict == ""


def test_a_profile_that_was_measured_alone_is_called_that_and_spoils_no_run() -> None:
    report = report_of(result("LT1", Status.MEASURED, "latency"), result("TH6", Status.NOT_SUPPORTED, "latency"))
    assert (cell(report, "latency").verdict, cell(report, "latency").tone) == ("MEASURED", "note")
    assert exit_code(report.checks, failure="") == 0


def test_an_excused_failure_leaves_the_exit_code_and_not_the_verdict() -> None:
    report = report_of(result("C01", Status.XFAIL))
    assert report.profiles[0].verdict == "PARTIAL"
    assert report.exit_code == 0


def test_whole_numbers_are_written_in_full() -> None:
    assert figure_text(Figure(name="n", value=20000)) == "n 20000"
    assert figure_text(Figure(name="rate", value=0.0123, high=0.5)) == "rate 0.0123 [-∞, 0.5]"


def test_the_detectable_effect_is_what_the_sample_gives_and_never_what_the_check_is_made_for() -> None:
    bound = attempted(Status.PASS, Figure(name="failure_rate", value=0, low=0, high=0.03))
    assert detectable(result("C01", Status.PASS, attempts=bound)) == "a failure in more than 3 % of cases (95 %)"
    none = attempted(Status.PASS, Figure(name="failure_rate", value=0, low=0, high=1))
    assert detectable(result("C01", Status.PASS, attempts=none)).startswith("nothing")
    measured = attempted(Status.PASS, Figure(name="minimum detectable w", value=0.1))
    assert detectable(result("P02", Status.PASS, attempts=measured)) == "minimum detectable w 0.1"
    assert detectable(result("S03", Status.PASS, attempts=attempted(Status.PASS))) == "not computed for this sample"


def test_the_same_problem_is_told_once_with_how_often_it_came() -> None:
    told = attempted(Status.FAIL, problems=["a", "b", "a"])
    assert problems(result("C01", Status.FAIL, attempts=told)) == ["a (2 times)", "b"]


def rich() -> ConformanceReport:
    """A report with something of everything, and words of a hostile server."""
    ranged = Figure(name="mean divergence in nats", value=0.001, low=0.0005, high=0.002)
    bound = Figure(name="bound in nats", value=0.01)
    p_values = [Figure(name=f"T={place} p", value=place / 10) for place in range(1, LEAST_P_VALUES + 1)]
    return report_of(
        result("C01", Status.FAIL, attempts=attempted(Status.FAIL, problems=[HOSTILE])),
        result("C03", Status.ERROR, reason="hook stop: it failed"),
        result("P02", Status.PASS, "sampling", attempts=attempted(Status.PASS, *p_values)),
        result("LP3", Status.PASS, "logprobs", attempts=attempted(Status.PASS, ranged, bound)),
        result("X01", Status.NOT_RUN, "cancel", reason="the target has no hook kill"),
        result("X02", Status.NOT_RUN, "cancel", reason="the target has no hook kill"),
        result("A01", Status.NOT_SUPPORTED, "adapters", reason="declared absent: adapters"),
        result("D01", Status.XFAIL, "determinism", issue="https://example.org/1"),
        model=HOSTILE,
        engine=HOSTILE,
    )  # fmt: skip


def proof() -> KillMatrix:
    cells = {CLEAN: {"C1": Cell(status=Status.PASS)}, "s": {"C1": Cell(status=Status.FAIL, problem=HOSTILE)}}
    return KillMatrix(checks=("C1",), defects={"s": HOSTILE}, declared={"s": ("C1",)}, cells=cells, seed=1, seconds=1)


def load_page() -> str:
    """The page of a load run on a server with a hostile name."""
    run = perfect()
    named = replace(run, info=replace(run.info, address=HOSTILE))
    report = judged(named.rows, named.info, floor=FLOOR, limits={"ttft": 1.0})
    return load_html(report, Load("load", named, is_gated=True))


PAGES: dict[str, Callable[[], str]] = {
    "load": load_page,
    "report": lambda: html(rich(), Path()),
    "matrix": lambda: matrix_html([rich(), rich()]),
    "difference": lambda: difference_html(rich(), report_of(*whole())),
    "kill matrix": lambda: kill_matrix_html(proof()),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_needs_no_script_and_nothing_from_elsewhere(name: str) -> None:
    page = PAGES[name]()
    outline = Outline(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(outline.tags)
    assert outline.sources == []
    assert all(link.startswith(("#", "samples/")) for link in outline.links)
    assert "url(" not in page
    assert "@import" not in page


@pytest.mark.parametrize("name", PAGES)
def test_each_link_inside_a_page_leads_somewhere_and_no_id_is_there_twice(name: str) -> None:
    outline = Outline(PAGES[name]())
    assert len(outline.ids) == len(set(outline.ids))
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)


def test_a_report_with_little_in_it_makes_a_page() -> None:
    page = html(report_of(failure="no server can be reached", model="", backend=""), Path())
    assert "no server can be reached" in page
    assert "Conformance not shown" in page


def test_the_page_tells_each_failure_with_the_command_that_reproduces_it() -> None:
    page = html(rich(), Path())
    failures = page[page.index('id="failures"') : page.index('id="undecided"')]
    assert "bellhousing conformance run --check C01" in failures
    assert "The target is not blamed" in failures


def test_the_page_of_a_load_has_its_verdict_figures_gates_and_pictures() -> None:
    page = load_page()
    assert "<strong>VALID</strong>" in page
    assert "request ledger" in page
    assert "TTFT</th><td>p50</td>" in page
    assert 'aria-label="Sent after intended: request"' in page
    assert "good requests/s" in page


def test_checks_that_lack_the_same_thing_share_a_line() -> None:
    assert "- NOT RUN: X01, X02: the target has no hook kill" in markdown(rich())


def test_words_of_a_server_make_neither_headings_nor_html_in_markdown() -> None:
    for text in (markdown(rich()), matrix_markdown(matrix([rich()])), difference_markdown(changes(rich(), rich()), ())):
        assert "<script" not in text
        assert "\n# heading" not in text


def test_junit_counts_each_kind_once_and_keeps_its_type() -> None:
    root = fromstring(junit(rich()))
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "8", "failures": "1", "errors": "1", "skipped": "4",
    }  # fmt: skip
    types = sorted(str(each.get("type")) for each in root.iter("skipped"))
    assert types == ["NOT_RUN", "NOT_RUN", "NOT_SUPPORTED", "XFAIL"]


def test_a_change_is_called_what_it_is() -> None:
    before = report_of(
        *(result(f"C0{place}", s) for place, s in enumerate([Status.PASS, Status.PASS, Status.FAIL, Status.FAIL]))
    )
    after = report_of(
        result("C00", Status.FAIL), result("C01", Status.INCONCLUSIVE), result("C02", Status.PASS),
        result("C03", Status.INCONCLUSIVE), result("C04", Status.PASS),
    )  # fmt: skip
    assert {change.id: change.kind for change in changes(before, after)} == {
        "C00": "broken", "C01": "lost", "C02": "mended", "C03": "other", "C04": "new",
    }  # fmt: skip
    assert [change.kind for change in changes(after, before) if change.id == "C04"] == ["gone"]


def test_what_else_differs_is_told_but_not_the_address() -> None:
    other = report_of(*whole(), engine_version="2", address="127.0.0.1:2")
    assert [(each.what, each.after) for each in differences(report_of(*whole()), other)] == [
        ("subject engine version", "2")
    ]


def test_reports_that_cannot_be_compared_say_so() -> None:
    assert matrix([report_of(*whole()), report_of(*whole())]).cautions == ()
    (caution,) = matrix([report_of(*whole()), report_of(result("C01", Status.PASS))]).cautions
    assert "choice of checks" in caution


def test_subjects_of_one_name_are_told_apart_by_their_addresses() -> None:
    both = [report_of(*whole()), report_of(*whole(), address="127.0.0.1:2")]
    assert matrix(both).subjects == ("m on b at 127.0.0.1:1", "m on b at 127.0.0.1:2")


def test_p_values_are_plotted_against_their_order_statistics() -> None:
    plot = quantiles(rich().checks)
    assert plot is not None
    assert all(point.low <= point.high for point in plot.points)
    assert [point.expected for point in plot.points] == sorted((p.expected for p in plot.points), reverse=True)
    assert quantiles([]) is None


def test_pictures_stay_within_their_axes() -> None:
    shares = [bar.share for bar in durations(rich().checks)]
    shares += [share for each in divergences(rich().checks) for share in (each.low, each.value, each.high, each.limit)]
    assert shares
    assert all(0 <= share <= 1 for share in shares)
