import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bellhousing.errors import BellhousingError, ConfigurationError
from bellhousing.plugins import Plugins
from bellhousing.testing import serving
from bellhousing_accesslog import AccessLog


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the plugin writes to."""
    file = tmp_path / "access.jsonl"
    monkeypatch.setenv("BELLHOUSING_ACCESSLOG_FILE", str(file))
    return file


@pytest.fixture
def plugin() -> Iterator[AccessLog]:
    """The plugin, its file closed afterwards."""
    accesslog = AccessLog()
    yield accesslog
    accesslog.close()


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def test_each_request_is_one_line_with_its_times_and_without_its_prompt(log: Path, plugin: AccessLog) -> None:
    async with serving("simulator", plugin=plugin) as served:
        await served.client.complete("a secret prompt", max_tokens=5, ignore_eos=True)
    (line,) = lines(log)
    assert (line["code"], line["reason"], line["completion_tokens"]) == ("OK", "max_tokens", 5)
    assert 0 <= line["queue_seconds"] <= line["ttft_seconds"] <= line["total_seconds"]
    assert line["inter_token_seconds"] >= 0
    assert "secret" not in json.dumps(line)


async def test_a_request_that_is_cancelled_before_its_first_token_is_told_as_such(log: Path, plugin: AccessLog) -> None:
    options = {"prefill_seconds_per_token": 1.0}
    async with serving("simulator", plugin=plugin, options=options) as served:
        with pytest.raises(BellhousingError):
            await served.client.complete("abcdef", max_tokens=5, timeout=0.3)
        async with asyncio.timeout(20):
            while not lines(log):
                await asyncio.sleep(0.01)
    (line,) = lines(log)
    assert line["code"] in {"DEADLINE_EXCEEDED", "CANCELLED"}
    assert (line["ttft_seconds"], line["inter_token_seconds"]) == (None, None)


async def test_a_file_that_cannot_be_written_is_refused_before_anything_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin: AccessLog
) -> None:
    monkeypatch.setenv("BELLHOUSING_ACCESSLOG_FILE", str(tmp_path / "no" / "such.jsonl"))
    with pytest.raises(ConfigurationError, match=r"access log .*such\.jsonl.* cannot be written: No such file"):
        async with serving("simulator", plugin=plugin):
            pass


async def test_without_the_variable_nothing_is_written(capsys: pytest.CaptureFixture[str], plugin: AccessLog) -> None:
    async with serving("simulator", plugin=plugin) as served:
        await served.client.complete("abc", max_tokens=2)
    assert capsys.readouterr().out == ""


async def test_a_dash_is_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, plugin: AccessLog
) -> None:
    monkeypatch.setenv("BELLHOUSING_ACCESSLOG_FILE", "-")
    async with serving("simulator", plugin=plugin) as served:
        await served.client.complete("abc", max_tokens=2)
    assert json.loads(capsys.readouterr().out)["backend"] == "simulator"


def test_the_plugin_is_found_by_its_entry_point() -> None:
    assert "accesslog" in Plugins.installed().names()
