import shutil
from pathlib import Path

import pytest

from tools.generate_stubs import COMMITTED, drift, generate, replace, stubs
from tools.protoc import PROTOS, CompilerError

STUB = Path("bellhousing/v1/inference_pb2.py")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the committed stubs."""
    for path, content in stubs(COMMITTED).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return tmp_path


def test_every_proto_has_a_module_its_types_and_its_services() -> None:
    protos = sorted(PROTOS.rglob("*.proto"))
    names = {path.name for path in stubs(COMMITTED)}
    assert names == {f"{p.stem}{end}" for p in protos for end in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")}


def test_equal_stubs_do_not_drift(copy: Path) -> None:
    assert drift(copy, COMMITTED) == []


def test_a_modified_stub_is_reported(copy: Path) -> None:
    with (copy / STUB).open("a") as file:
        file.write("# changed by hand\n")
    assert drift(COMMITTED, copy) == [f"{STUB}: differs"]


def test_a_missing_stub_is_reported(copy: Path) -> None:
    (copy / STUB).unlink()
    assert drift(COMMITTED, copy) == [f"{STUB}: missing"]


def test_a_stub_without_a_proto_is_reported_and_removed(copy: Path) -> None:
    old = STUB.with_name("removed_pb2.py")
    shutil.copyfile(copy / STUB, copy / old)
    assert drift(COMMITTED, copy) == [f"{old}: no proto makes it"]
    replace(COMMITTED, copy)
    assert not (copy / old).exists()


def test_replacing_leaves_no_drift_and_keeps_other_files(copy: Path, tmp_path: Path) -> None:
    (copy / STUB).write_text("")
    by_hand = copy / "bellhousing/v1/__init__.py"
    by_hand.write_text("# kept\n")
    replace(COMMITTED, copy)
    assert drift(COMMITTED, copy) == []
    assert by_hand.read_text() == "# kept\n"


@pytest.mark.toolchains
def test_the_committed_stubs_are_what_the_protos_say(tmp_path: Path) -> None:
    generate(tmp_path)
    assert drift(tmp_path, COMMITTED) == []


@pytest.mark.toolchains
def test_a_changed_proto_makes_the_stubs_drift(tmp_path: Path) -> None:
    protos, fresh = tmp_path / "protos", tmp_path / "fresh"
    fresh.mkdir()
    shutil.copytree(PROTOS, protos)
    inference = protos / "bellhousing/v1/inference.proto"
    inference.write_text(inference.read_text().replace("double top_p = 4", "double top_p = 40"))
    generate(fresh, protos)
    assert drift(fresh, COMMITTED) == [f"{STUB}: differs"]


@pytest.mark.toolchains
def test_a_faulty_proto_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "faulty.proto").write_text('syntax = "proto3";\nmessage Faulty { nonsense }\n')
    with pytest.raises(CompilerError, match=r"faulty\.proto:2"):
        generate(tmp_path, tmp_path)
