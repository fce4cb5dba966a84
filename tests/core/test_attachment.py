from pathlib import Path

import pytest
from pydantic import ValidationError

from bellhousing.attachment import Attachment, check_settings, chosen_model, until_unwell
from bellhousing.errors import ConfigurationError
from bellhousing.settings import Batching, EngineSettings, Parallelism


@pytest.mark.parametrize("url", ["http://10.0.0.1:8000", "http://engine.example", "ftp://127.0.0.1", "127.0.0.1:8000"])
def test_plain_http_to_another_host_and_what_is_no_address_are_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="url: expected"):
        Attachment(url=url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://[::1]:8000", "http://localhost", "https://engine.example"]
)
def test_this_machine_and_https_are_taken(url: str) -> None:
    assert Attachment(url=url).url == url


def test_plain_http_elsewhere_is_taken_when_it_is_allowed() -> None:
    assert Attachment(url="http://10.0.0.1", insecure=True).insecure


def test_a_key_is_read_from_its_file_and_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(" secret \n")
    assert Attachment(url="http://localhost").key() == ""
    assert Attachment(url="http://localhost", api_key_file=tmp_path / "key").key() == "secret"
    with pytest.raises(ConfigurationError, match=r"options\.api_key_file"):
        Attachment(url="http://localhost", api_key_file=tmp_path / "none").key()


def test_settings_that_are_the_servers_own_are_refused_together() -> None:
    settings = EngineSettings(batching=Batching(max_total_tokens=1), parallelism=Parallelism(data=2))
    with pytest.raises(ConfigurationError, match=r"parallelism\.data, batching\.max_total_tokens: expected unset"):
        check_settings(settings)
    check_settings(EngineSettings(batching=Batching(max_sequences=4)))


async def test_a_server_is_unwell_once_it_was_not_well_three_times_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellhousing.attachment.PULSE_SECONDS", 0.0)
    answers = iter([True, False, False, True, False, False, False])

    async def is_well() -> bool:
        return next(answers)

    await until_unwell(is_well)
    assert list(answers) == []


@pytest.mark.parametrize(("wanted", "models", "chosen"), [("", ["a"], "a"), ("b", ["a", "b"], "b")])
def test_the_named_model_is_chosen_or_the_only_one(wanted: str, models: list[str], chosen: str) -> None:
    assert chosen_model(wanted, models) == chosen


@pytest.mark.parametrize(("wanted", "models"), [("", ["b", "a"]), ("c", ["b", "a"])])
def test_a_model_that_is_not_there_or_not_named_is_refused_with_those_that_are(wanted: str, models: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=f"expected one of a, b, found '{wanted}'"):
        chosen_model(wanted, models)
    with pytest.raises(ConfigurationError, match="expected one of none"):
        chosen_model(wanted, [])
