import tomllib

import pytest

from bellhousing.config import ModelConfig
from bellhousing.errors import ConfigurationError
from bellhousing.tuning.space import Settings, applied, combinations, label, parsed, toml

MODEL = ModelConfig.model_validate({"backend": "simulator", "options": {"weights_seed": 3}})


def test_every_combination_is_a_candidate() -> None:
    space = parsed(["batching.max_sequences=1,4", "options.mode=fast,slow"])
    assert [tuple(settings.values()) for settings in combinations(space)] == [
        (1, "fast"), (1, "slow"), (4, "fast"), (4, "slow"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["max_sequences=1", "batching.max_sequences", "batching.max_sequences=", "name=x"])
def test_what_names_no_setting_or_no_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected PATH=VALUE,VALUE"):
        parsed([text])


def test_a_candidate_changes_its_settings_and_nothing_else() -> None:
    found = ModelConfig.model_validate(applied(MODEL, {"batching.max_sequences": 4, "options.lora.max_rank": 8}))
    assert found.batching.max_sequences == 4
    assert found.options == {"weights_seed": 3, "lora": {"max_rank": 8}}
    assert found.name == MODEL.name


def test_the_lines_for_the_file_say_the_same() -> None:
    settings: Settings = {"batching.max_sequences": 4, "options.eager": True, "options.dtype": "float32"}
    read = tomllib.loads(toml(settings))
    assert read == {"batching": {"max_sequences": 4}, "options": {"eager": True, "dtype": "float32"}}


def test_a_label_is_short() -> None:
    assert label({"batching.max_sequences": 4, "options.eager": True}) == "max_sequences 4, eager True"
