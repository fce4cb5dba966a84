import json
import re
import tomllib
from pathlib import Path

import pytest
from pydantic import Field

from bellhousing import registry
from bellhousing.config import load_config
from bellhousing.settings import Strict
from bellhousing.toml import toml_value
from tools.configuration_reference import (
    DOCUMENT,
    EXAMPLES,
    Section,
    Setting,
    backends,
    document,
    example,
    sections,
    settings,
)

WITH_VARIABLE = [s for section in sections() if not section.in_list for s in settings(section) if s.default]


def test_the_committed_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text() == document()


def test_every_setting_has_a_row_in_its_section() -> None:
    text = DOCUMENT.read_text()
    for section in sections():
        part = text.split(f"### `{section.header}`\n", 1)[1].split("\n##", 1)[0]
        assert [setting.key for setting in settings(section) if f"| `{setting.key}` |" not in part] == []


def test_every_setting_has_a_meaning() -> None:
    assert [s.path for section in sections() for s in settings(section) if not s.description] == []


@pytest.mark.parametrize("name", backends())
def test_every_option_of_a_backend_has_a_row_nested_ones_included(name: str) -> None:
    parts = re.findall(r"^### ([^`\n]+)\n(.*?)(?=^##)", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    (part,) = [text for names, text in parts if name in names.split(", ")]
    top = Section("models.options", registry.load(name).Options)
    keys = [setting.key for section in (top, *sections(top.model, top)) for setting in settings(section)]
    assert [key for key in keys if f"| `{key}` |" not in part] == []


def test_a_default_computed_on_the_machine_is_not_written_down() -> None:
    class Options(Strict):
        threads: int = Field(default_factory=lambda: 7)

    (setting,) = settings(Section("models.options", Options))
    assert setting.default is None
    assert setting.shown_default == "depends on the machine"


def test_the_example_is_a_valid_configuration(tmp_path: Path) -> None:
    file = tmp_path / "bellhousing.toml"
    file.write_text(example(list(sections())))
    config = load_config(file)
    assert config.models[0].name == EXAMPLES["models.name"]
    assert config.auth.tokens[0].tenant == EXAMPLES["auth.tokens.tenant"]


def test_the_defaults_shown_in_the_example_are_the_defaults(tmp_path: Path) -> None:
    shown = example(list(sections()))
    lines = [line.removeprefix("# ") for line in shown.splitlines() if not line.endswith(" =")]
    spelled_out, as_shown = tmp_path / "all.toml", tmp_path / "some.toml"
    spelled_out.write_text("\n".join(lines))
    as_shown.write_text(shown)
    assert load_config(spelled_out).model_dump() == load_config(as_shown).model_dump()


@pytest.mark.parametrize("setting", WITH_VARIABLE, ids=lambda setting: setting.variable)
def test_an_environment_variable_reaches_its_setting(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    value = tomllib.loads(f"value = {setting.default}")["value"]
    other = {bool: not value, int: 4096, float: 4096.0, str: "localhost"}[type(value)]
    monkeypatch.setenv(setting.variable, str(other))
    found: object = load_config()
    for part in setting.path.split("."):
        found = getattr(found, part)
    assert found == other


def test_a_list_of_tables_is_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BELLHOUSING_MODELS", json.dumps([{"backend": "simulator"}]))
    assert load_config().models[0].backend == "simulator"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1.5, "1.5"),
        ("a", '"a"'),
        (Path("a/b"), '"a/b"'),
        (("a",), '["a"]'),
        ({}, "{}"),
        ({"a": 1}, "{ a = 1 }"),
    ],
)
def test_defaults_are_written_as_toml(value: object, text: str) -> None:
    assert toml_value(value) == text
