import pytest

from bellhousing import registry
from bellhousing.capabilities import FIELDS, Bounds, Capabilities, Range, parameters
from bellhousing_simulator import SimulatorBackend
from tools.capability_matrix import DOCUMENT, README, Row, document, readme, rows, summary
from tools.configuration_reference import backends


def row(least: Capabilities, most: Capabilities) -> Row:
    class Example(SimulatorBackend):
        """Serves nothing."""

        name = "example"
        bounds = Bounds(least, most)

    return Row(("example",), Example, "example.md")


def line(found: Row, name: str) -> str:
    return next(line for line in document([found]).splitlines() if line.startswith(f"| `{name}` |"))


def test_the_committed_documents_are_what_the_backends_declare() -> None:
    assert document(rows()) == DOCUMENT.read_text(encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    assert readme(text, rows()) == text


def test_every_backend_is_in_one_row() -> None:
    assert sorted(name for found in rows() for name in found.names) == backends()


def test_a_field_is_refused_honoured_or_narrower() -> None:
    same = Capabilities(parameters("text", "sampling.temperature", sampling__top_k=Range(1, 100)))
    found = row(same, same)
    assert line(found, "sampling.seed") == "| `sampling.seed` | no |"
    assert line(found, "sampling.temperature") == "| `sampling.temperature` | yes |"
    assert line(found, "sampling.top_k") == "| `sampling.top_k` | [1, 100] |"
    assert line(found, "stopping.strings") == "| `stopping.strings` | by the server |"


def test_what_a_setting_decides_is_marked() -> None:
    least, most = (
        Capabilities(parameters("text")),
        Capabilities(parameters("text", "chat"), sleep=True, adapters="dynamic"),
    )
    found = row(least, most)
    assert line(found, "chat") == "| `chat` | yes° |"
    assert line(found, "sleep") == "| `sleep` | yes° |"
    assert "| text, chat° | 0 of" in summary([found])
    assert summary([found]).endswith("| dynamic° |")


def test_a_readme_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="found them 0 times"):
        readme("no table", [])


@pytest.mark.parametrize("name", backends())
def test_the_least_of_a_backend_is_within_its_most(name: str) -> None:
    bounds = registry.load(name).bounds
    assert bounds.least.beyond(bounds.most) == []
    assert bounds.most.honoured().keys() <= FIELDS.keys()
    assert bounds.most.parameters, "every backend should declare its bounds"
