from pathlib import Path
from random import Random

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.task import Item, made_items, read_items


def test_the_same_seed_makes_the_same_items() -> None:
    assert made_items(Random(1), 40) == made_items(Random(1), 40)
    assert made_items(Random(1), 40) != made_items(Random(2), 40)


def test_no_prompt_ends_with_its_answer() -> None:
    assert not [item for item in made_items(Random(1), 200) if item.prompt.endswith(item.answer)]


def test_white_space_before_an_answer_does_not_count() -> None:
    assert Item("1 + 1 =", "2").is_right(" 2\n")
    assert not Item("1 + 1 =", "2").is_right(" 12")


def test_items_of_a_file_are_read(tmp_path: Path) -> None:
    file = tmp_path / "task.jsonl"
    file.write_text('{"prompt": "a", "answer": "b"}\n\n')
    assert read_items(file) == [Item("a", "b")]


@pytest.mark.parametrize(("text", "words"), [
    ("", "at least one item"),
    ("no json\n", "line 1: expected an object"),
    ('{"prompt": "a"}\n', "expected an object with prompt and answer"),
    ('{"prompt": "a", "answer": 3}\n', "expected prompt and answer to be texts"),
])  # fmt: skip
def test_what_is_no_task_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "task.jsonl").write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        read_items(tmp_path / "task.jsonl")
