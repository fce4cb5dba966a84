import re
import shutil
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor

from bellhousing.capabilities import FIELDS
from bellhousing.v1 import admin_pb2, discovery_pb2, inference_pb2
from tools.contract_table import DOCUMENT, document, error_classes
from tools.descriptors import read_contract
from tools.protoc import PROTOS

FILES: list[FileDescriptor] = [module.DESCRIPTOR for module in (inference_pb2, discovery_pb2, admin_pb2)]


def all_messages() -> list[Descriptor]:
    top = [message for file in FILES for message in file.message_types_by_name.values()]
    nested = [inner for message in top for inner in message.nested_types if not inner.GetOptions().map_entry]
    return top + nested


def section(title: str) -> str:
    """Return the committed section of one message, enum or service."""
    found = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##|\Z)", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"no section {title!r}"
    return found.group(1)


@pytest.mark.parametrize("message", all_messages(), ids=lambda message: message.name)
def test_a_message_lists_every_field_with_its_number_and_meaning(message: Descriptor) -> None:
    text = section(message.full_name.removeprefix("bellhousing.v1."))
    for field in message.fields:
        assert re.search(rf"^\| (· )?`{field.name}` \| [^|]+ \| {field.number} \| [^|]+ \|$", text, re.MULTILINE), (
            field.name
        )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_services_and_enums_list_every_entry(file: FileDescriptor) -> None:
    for service in file.services_by_name.values():
        for method in service.methods:
            assert f"| `{method.name}` |" in section(service.name)
    for enum in file.enum_types_by_name.values():
        for value in enum.values:
            assert f"| `{value.name}` | {value.number} |" in section(enum.name)


def test_every_error_has_a_row_with_its_code() -> None:
    text = DOCUMENT.read_text()
    for kind in error_classes():
        assert f"| `{kind.__name__}` | `{kind.code.name}` |" in text


def test_every_field_that_a_model_may_honour_has_a_row() -> None:
    text = DOCUMENT.read_text()
    assert [name for name in FIELDS if f"| `{name}` |" not in text] == []


def test_directives_to_tools_are_left_out() -> None:
    assert "buf:" not in DOCUMENT.read_text()


@pytest.mark.toolchains
def test_the_committed_document_is_what_the_protos_say() -> None:
    assert DOCUMENT.read_text() == document(read_contract())


@pytest.mark.toolchains
def test_a_changed_comment_changes_the_document(tmp_path: Path) -> None:
    shutil.copytree(PROTOS, tmp_path, dirs_exist_ok=True)
    inference = tmp_path / "bellhousing/v1/inference.proto"
    inference.write_text(
        inference.read_text().replace("// Keep this many most probable tokens.", "// Another promise.")
    )
    text = document(read_contract(tmp_path))
    assert "| `top_k` | `optional uint32` | 5 | Another promise. 0 is off. |" in text
