"""The protos as descriptors with their comments."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from tools.protoc import PROTOS, compile_protos

READING_ORDER = ("inference", "discovery", "admin")
"""Files in the order in which a reader needs them; any other comes after these."""

_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6  # field numbers of FileDescriptorProto, the first half of a location's path
_FIELDS, _NESTED, _NESTED_ENUMS, _ONEOFS = 2, 3, 4, 8  # of DescriptorProto
_VALUES = _METHODS = 2  # of EnumDescriptorProto and ServiceDescriptorProto


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service; the types are names in the package, `streams` tells of the response."""

    name: str
    request: str
    response: str
    streams: bool
    comment: str


@dataclass(frozen=True, slots=True)
class Service:
    """A service, its comment and its methods in order."""

    name: str
    comment: str
    methods: tuple[Method, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A field. `oneof` is the group it belongs to, empty for none; `type` reads as in the proto."""

    name: str
    type: str
    number: int
    comment: str
    oneof: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A message, its fields in order, the comments of its oneofs by name, and its reserved numbers (both ends)."""

    name: str
    comment: str
    fields: tuple[Field, ...]
    oneofs: dict[str, str]
    reserved: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Enum:
    """An enum and its values; a value is a field without a type."""

    name: str
    comment: str
    values: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Contract:
    """All that the protos define, in their order."""

    services: tuple[Service, ...]
    messages: tuple[Message, ...]
    enums: tuple[Enum, ...]


def read_contract(protos: Path = PROTOS) -> Contract:
    """Compile the protos below `protos` and return what they define. Raises `CompilerError`."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        compile_protos(f"--descriptor_set_out={image}", "--include_source_info", protos=protos)
        files = [_File(file) for file in FileDescriptorSet.FromString(image.read_bytes()).file]
    files.sort(key=lambda file: file.place)
    return Contract(
        services=tuple(service for file in files for service in file.services),
        messages=tuple(message for file in files for message in file.messages),
        enums=tuple(enum for file in files for enum in file.enums),
    )


class _File:
    """One file's definitions, joined with the comments that precede them."""

    def __init__(self, file: FileDescriptorProto) -> None:
        stem = Path(file.name).stem
        self.place = (READING_ORDER.index(stem) if stem in READING_ORDER else len(READING_ORDER), stem)
        self._package = f".{file.package}."
        self._comments = {tuple(at.path): _text(at.leading_comments) for at in file.source_code_info.location}
        self.services = tuple(self._services(file))
        self.messages = tuple(self._messages(file.message_type, (_MESSAGES,), ""))
        self.enums = (
            *self._enums(file.enum_type, (_ENUMS,), ""),
            *(enum for i, m in enumerate(file.message_type) for enum in self._nested_enums(m, (_MESSAGES, i), "")),
        )

    def _services(self, file: FileDescriptorProto) -> Iterator[Service]:
        for i, service in enumerate(file.service):
            methods = (
                Method(
                    method.name,
                    self._local(method.input_type),
                    self._local(method.output_type),
                    method.server_streaming,
                    self._comments[_SERVICES, i, _METHODS, j],
                )
                for j, method in enumerate(service.method)
            )
            yield Service(service.name, self._comments[_SERVICES, i], tuple(methods))

    def _messages(self, messages: Sequence[DescriptorProto], at: tuple[int, ...], scope: str) -> Iterator[Message]:
        for i, message in enumerate(messages):
            if message.options.map_entry:
                continue
            path, name = (*at, i), scope + message.name
            yield Message(
                name,
                self._comments[path],
                tuple(self._field(message, field, (*path, _FIELDS, j)) for j, field in enumerate(message.field)),
                {oneof.name: self._comments.get((*path, _ONEOFS, j), "") for j, oneof in enumerate(message.oneof_decl)},
                tuple((gap.start, gap.end - 1) for gap in message.reserved_range),
            )
            yield from self._messages(message.nested_type, (*path, _NESTED), f"{name}.")

    def _field(self, message: DescriptorProto, field: FieldDescriptorProto, path: tuple[int, ...]) -> Field:
        in_group = field.HasField("oneof_index") and not field.proto3_optional
        oneof = message.oneof_decl[field.oneof_index].name if in_group else ""
        return Field(field.name, self._type(message, field), field.number, self._comments[path], oneof)

    def _type(self, message: DescriptorProto, field: FieldDescriptorProto) -> str:
        own = self._local(field.type_name) or FieldDescriptorProto.Type.Name(field.type)[len("TYPE_") :].lower()
        if field.label != FieldDescriptorProto.LABEL_REPEATED:
            return f"optional {own}" if field.proto3_optional else own
        entry = next((n for n in message.nested_type if n.options.map_entry and own.endswith(f".{n.name}")), None)
        if entry is None:
            return f"repeated {own}"
        key, value = (self._type(entry, part) for part in entry.field)
        return f"map<{key}, {value}>"

    def _nested_enums(self, message: DescriptorProto, path: tuple[int, ...], scope: str) -> Iterator[Enum]:
        scope = f"{scope}{message.name}."
        yield from self._enums(message.enum_type, (*path, _NESTED_ENUMS), scope)
        for i, nested in enumerate(message.nested_type):
            yield from self._nested_enums(nested, (*path, _NESTED, i), scope)

    def _enums(self, enums: Sequence[EnumDescriptorProto], at: tuple[int, ...], scope: str) -> Iterator[Enum]:
        for i, enum in enumerate(enums):
            values = (
                Field(value.name, "", value.number, self._comments[(*at, i, _VALUES, j)])
                for j, value in enumerate(enum.value)
            )
            yield Enum(scope + enum.name, self._comments[(*at, i)], tuple(values))

    def _local(self, name: str) -> str:
        """Return a type's name without our own package, and others' without the leading dot."""
        return name.removeprefix(self._package).removeprefix(".")


def _text(comment: str) -> str:
    """Return a comment as one paragraph a block, without directives to tools."""
    lines = (line.strip() for line in comment.splitlines())
    kept = [line for line in lines if not line.startswith("buf:")]
    return "\n".join(kept).strip()
