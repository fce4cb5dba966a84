from pathlib import Path

import pytest

from tools.check_links import anchors, broken_links

TARGET = """\
# The house

## Doors & windows (both)
### `Door`
## Same
## Same
```sh
# no heading
```
<a id="cellar"></a>
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "house.md").write_text(TARGET)
    (tmp_path / "picture.svg").write_text("<svg/>")
    return tmp_path


def faults(root: Path, text: str) -> list[str]:
    file = root / "docs" / "page.md"
    file.write_text(text)
    return broken_links([file], root)


def test_headings_become_anchors_as_on_github() -> None:
    assert anchors(TARGET) == ["the-house", "doors--windows-both", "door", "same", "same-1", "cellar"]


@pytest.mark.parametrize(
    "text",
    [
        "[a](house.md)",
        "[a](house.md#doors--windows-both)",
        "[a](house.md#same-1)",
        "[a](house.md#cellar 'a title')",
        "[a](../docs)",
        "[a](/picture.svg)",
        "![a](../picture.svg)",
        '<img src="../picture.svg">',
        "# Here\n[a](#here)",
        "[a]: house.md",
        "[a](https://example.invalid/none) and <mailto:a@example.invalid>",
        "`[a](none.md)`",
        "```\n[a](none.md)\n```",
    ],
)
def test_a_good_link_is_not_reported(root: Path, text: str) -> None:
    assert faults(root, text) == []


@pytest.mark.parametrize(
    "text",
    ["[a](none.md)", "![a](none.svg)", '<a href="none.md">a</a>', "[a]: none.md", "[a](/docs/none.md#here)"],
)
def test_a_link_to_no_file_is_reported(root: Path, text: str) -> None:
    (fault,) = faults(root, f"first line\n{text}")
    assert fault.startswith("docs/page.md:2: link ")
    assert "no such file or folder" in fault


def test_a_link_to_no_heading_is_reported_with_the_nearest(root: Path) -> None:
    (fault,) = faults(root, "[a](house.md#the-hous)")
    assert (
        fault == "docs/page.md:1: link 'house.md#the-hous': no heading #the-hous in house.md; did you mean #the-house?"
    )


def test_a_heading_inside_a_code_block_is_no_target(root: Path) -> None:
    assert len(faults(root, "[a](house.md#no-heading)")) == 1
