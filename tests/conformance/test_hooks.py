"""Hooks: what is wrong with one is told as the hook's, with what was expected and found."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from bellhousing.errors import ConfigurationError
from bellhousing_conformance.targets import hooks as hooks_module
from bellhousing_conformance.targets.hooks import HookFailed, HookName, Hooks, command_hook
from bellhousing_conformance.targets.target import load_target


def hooks(name: HookName, *command: str) -> Hooks:
    return Hooks({name: command_hook(name, command)})


@pytest.mark.parametrize(("name", "printed", "words"), [
    ("rss", "12 kB", "hook rss: expected a number of bytes, found '12 kB'"),
    ("rss", "", "hook rss: expected a number of bytes, found ''"),
    ("stats", "three", "hook stats: expected a JSON object of whole numbers, some of processes, files, threads"),
    ("stats", "[3]", "found '[3]'"),
    ("stats", '{"files": "many"}', "hook stats: expected a JSON object of whole numbers"),
    ("stats", '{"handles": 3}', "hook stats: expected a JSON object of whole numbers"),
])  # fmt: skip
async def test_what_a_hook_prints_must_have_its_form(name: HookName, printed: str, words: str) -> None:
    with pytest.raises(HookFailed) as failed:
        await hooks(name, "printf", "%s", printed).call(name)
    assert words in str(failed.value)


@pytest.mark.parametrize(("name", "printed"), [("rss", "1024"), ("stats", '{"processes": 0, "files": 4}')])
async def test_what_a_hook_prints_in_its_form_is_returned(name: HookName, printed: str) -> None:
    assert await hooks(name, "echo", printed).call(name) == printed


async def test_a_command_that_fails_is_told_with_its_words() -> None:
    with pytest.raises(HookFailed, match="hook stop: expected sh to exit with 0, found 3: no such unit"):
        await hooks("stop", "sh", "-c", "echo no such unit >&2; exit 3").call("stop")


async def test_a_command_that_leaves_a_process_in_the_background_has_ended() -> None:
    began = time.monotonic()
    number = await hooks("start", "sh", "-c", "sleep 20 & echo $!").call("start")
    assert time.monotonic() - began < 10
    await asyncio.create_subprocess_exec("kill", number)


async def test_a_command_that_takes_too_long_is_ended_and_said_to_take_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks_module, "HOOK_SECONDS", 0.5)
    late = tmp_path / "late"
    with pytest.raises(HookFailed, match=r"hook stop: took longer than 0\.5 s"):
        await hooks("stop", sys.executable, "-c", f"import time; time.sleep(2); open({str(late)!r}, 'w')").call("stop")
    await asyncio.sleep(2)
    assert not late.exists()


def test_a_hook_without_a_command_is_refused_when_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "target.toml"
    file.write_text('address = "127.0.0.1:1"\n[hooks]\nstop = []\n')
    with pytest.raises(ConfigurationError, match=r"hooks\.stop"):
        load_target(file)
