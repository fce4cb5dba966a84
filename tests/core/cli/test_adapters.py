"""`bellhousing adapters …` against a real server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bellhousing.cli.adapters import _Shown
from bellhousing.client import Client
from bellhousing.v1 import admin_pb2 as pb
from tests.core.adapters.places import write
from tests.core.cli.conftest import Run, serving

CONFIG = """
[adapters]
registry = "memory"

[[models]]
backend = "simulator"
name = "sim"
adapter_roots = ["{root}"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a server, and the directory of its adapters."""
    folder = tmp_path_factory.mktemp("adapters")
    (folder / "root").mkdir()
    (folder / "bellhousing.toml").write_text(CONFIG.replace("{root}", str(folder / "root")))
    with serving("--port", "0", cwd=folder) as served:
        yield served.wait_for(r"serving 'sim' at (\S+):")[1].rstrip(":"), folder / "root"
        assert served.end() == 0, served.lines


def test_an_adapter_is_added_listed_loaded_pinned_and_removed(run: Run, place: tuple[str, Path]) -> None:
    address, root = place
    write(root, "poet")
    at = ("--server", address)
    added = run("adapters", "add", "poet", str(root / "poet"), "--tag", "team=docs", "--json", *at).value
    assert (added["name"], added["tags"], added["rank"]) == ("poet", ["team=docs"], 8)
    assert run("adapters", "load", "poet", *at).code == 0
    assert run("adapters", "pin", "poet", "--json", *at).value["pinned"] is True
    (listed,) = run("adapters", "list", "--state", "device", "--tag", "team=docs", "--json", *at).lines
    assert (listed["name"], listed["state"]) == ("poet", "ADAPTER_STATE_DEVICE")
    assert "poet" in run("adapters", "list", *at).out
    assert "org/base" in run("adapters", "show", "poet", *at).out
    top = run("adapters", "top", "--once", "--json", *at).value
    assert (top["load"]["resident_adapters"], top["adapters"][0]["name"]) == (["poet"], "poet")
    assert "poet" in run("adapters", "top", "--once", *at).out
    assert run("adapters", "pin", "poet", "--off", "--json", *at).value["pinned"] is False
    assert run("adapters", "unload", "poet", *at).code == 0
    assert run("adapters", "remove", "poet", *at).code == 0
    gone = run("adapters", "remove", "poet", *at)
    assert gone.code == 2
    assert "no adapter named 'poet'" in gone.err
    assert run("adapters", "remove", "poet", "--missing-ok", *at).code == 0


def test_top_shows_what_stirs_at_once_and_asks_seldom_for_what_rests(place: tuple[str, Path]) -> None:
    address, root = place
    with Client(address) as client:
        for name in ("first", "second"):
            client.register_adapter(name, write(root, name))
        shown = _Shown(client, "", rows=10)
        assert {"first", "second"} <= {adapter.name for adapter in shown.latest()}
        client.load_adapter("second")
        client.register_adapter("third", write(root, "third"))
        found = shown.latest()
        assert (found[0].name, found[0].state) == ("second", pb.ADAPTER_STATE_DEVICE)
        assert "first" in {adapter.name for adapter in found}
        assert "third" not in {adapter.name for adapter in found}
        for name in ("first", "second", "third"):
            client.unload_adapter(name, forget=True)


def test_an_import_tells_what_was_refused_and_exits_with_1(run: Run, place: tuple[str, Path]) -> None:
    address, root = place
    for name in ("a", "b"):
        write(root / "many", name)
    (root / "many" / "b" / "second.gguf").write_bytes(b"more")
    ran = run("adapters", "import", str(root / "many"), "--prefix", "x/", "--server", address)
    assert ran.code == 1
    assert "x/b: adapter" in ran.err
    assert "1 adapters are registered, 1 were refused" in ran.err


def test_a_wrong_state_and_a_source_outside_are_named(run: Run, place: tuple[str, Path]) -> None:
    address, _ = place
    wrong = run("adapters", "list", "--state", "nowhere", "--server", address)
    assert wrong.code == 2
    assert "expected one of registered, fetching, host, device, failed" in " ".join(wrong.err.split())
    outside = run("adapters", "add", "x", "/etc", "--server", address)
    assert outside.code == 2
    assert "outside the allowed directories" in outside.err


def test_every_command_of_the_group_explains_itself(explained: Callable[..., str]) -> None:
    for command in ("add", "list", "show", "load", "unload", "pin", "remove", "import", "top"):
        assert "Example:" in explained("adapters", command)
