"""Translates the contracts' types into types of the Python client."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from buf.validate import validate_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

_T = FieldDescriptorProto
_SCALARS: Mapping[int, tuple[str, str]] = {
    _T.TYPE_BOOL: ("bool", "False"),
    _T.TYPE_BYTES: ("bytes", 'b""'),
    _T.TYPE_STRING: ("str", '""'),
    _T.TYPE_FLOAT: ("float", "0"),
    _T.TYPE_DOUBLE: ("float", "0"),
    **dict.fromkeys((_T.TYPE_INT32, _T.TYPE_INT64, _T.TYPE_UINT32, _T.TYPE_UINT64), ("int", "0")),
}
# JSON is passed as plain Python values.
_JSON = {
    "google.protobuf.Struct": ("Mapping[str, Any]", "to_struct"),
    "google.protobuf.Value": ("object", "to_value"),
}


class Types:
    """The messages and enums of a descriptor set."""

    def __init__(self, files: FileDescriptorSet) -> None:
        self._messages: dict[str, DescriptorProto] = {}
        self._enums: dict[str, EnumDescriptorProto] = {}
        self._files: dict[str, tuple[str, str]] = {}
        for file in files.file:
            for path, message in _messages(file):
                self._messages[f"{file.package}.{path}"] = message
                self._files[f"{file.package}.{path}"] = (file.name, path)
                for enum in message.enum_type:
                    self._add(file, f"{path}.{enum.name}", enum)
            for enum in file.enum_type:
                self._add(file, enum.name, enum)

    def name(self, full: str, proto: str) -> str:
        """How the module generated for the file `proto` writes a message or an enum; `pb` is its own contract."""
        file, path = self._files[full]
        return f"{'pb' if file == proto else module(file)}.{path}"

    def oneofs(self, message: str) -> Mapping[str, Sequence[FieldDescriptorProto]]:
        """The members of each oneof of a message, without the oneofs that stand for `optional`."""
        described = self._messages[message]
        found: dict[str, list[FieldDescriptorProto]] = defaultdict(list)
        for field in described.field:
            if _is_member(field):
                found[described.oneof_decl[field.oneof_index].name].append(field)
        return found

    def words(self, field: FieldDescriptorProto) -> Sequence[tuple[str, str]]:
        """The words for the values of a field's enum, each with the full name of its value.

        `STRATEGY_HYBRID` is `hybrid`; the unspecified value has no word.
        """
        full = field.type_name.removeprefix(".")
        if full not in self._enums:
            return ()
        unset, *values = self._enums[full].value
        prefix = unset.name.removesuffix("UNSPECIFIED")
        return [(value.name.removeprefix(prefix).lower(), f"{full}.{value.name}") for value in values]

    def python(self, field: FieldDescriptorProto, name: str, required: bool, proto: str) -> tuple[str, str, str]:
        """The type and the default of a field's parameter, and the expression that makes the field from it."""
        if field.label == _T.LABEL_REPEATED:
            return self._many(field, name, proto)
        kind, one = self._single(field, name, proto)
        if required:
            return kind, "", one
        if field.type == _T.TYPE_MESSAGE:
            # An empty object is not sent: it would store nothing and filter nothing.
            empty = f"{one} if {name} else None" if kind.startswith("Mapping") else f"None if {name} is None else {one}"
            optional = "object" if kind == "object" else f"{kind} | None"
            return optional, "None", name if one == name else empty
        if field.proto3_optional or _is_member(field):
            return f"{kind} | None", "None", one if one == name else f"None if {name} is None else {one}"
        if field.type == _T.TYPE_ENUM:
            return f"{kind} | None", "None", one
        if kind.startswith("Literal"):
            return f"{kind} | None", "None", f'{name} or ""'
        return kind, _SCALARS[field.type][1], one

    def _many(self, field: FieldDescriptorProto, name: str, proto: str) -> tuple[str, str, str]:
        entry = self._messages.get(field.type_name.removeprefix("."))
        if entry is not None and entry.options.map_entry:
            key, value = (self._single(each, name, proto)[0] for each in entry.field)
            return f"Mapping[{key}, {value}] | None", "None", name
        kind, one = self._single(field, "each", proto)
        return f"Sequence[{kind}]", "()", name if one == "each" else f"[{one} for each in {name}]"

    def _single(self, field: FieldDescriptorProto, name: str, proto: str) -> tuple[str, str]:
        full = field.type_name.removeprefix(".")
        if full in _JSON:
            kind, converter = _JSON[full]
            return kind, f"{converter}({name})"
        if field.type == _T.TYPE_MESSAGE:
            return self.name(full, proto), name
        if field.type == _T.TYPE_ENUM:
            return _literal([word for word, _ in self.words(field)]), f"enum_value({self.name(full, proto)}, {name})"
        rules = field.options.Extensions[validate_pb2.field]
        named = rules.repeated.items if field.label == _T.LABEL_REPEATED else rules
        if field.type == _T.TYPE_STRING and (words := list(getattr(named.string, "in"))):
            return _literal(words), name
        return _SCALARS[field.type][0], name

    def _add(self, file: FileDescriptorProto, path: str, enum: EnumDescriptorProto) -> None:
        self._enums[f"{file.package}.{path}"] = enum
        self._files[f"{file.package}.{path}"] = (file.name, path)


def module(proto: str) -> str:
    """The name of the module that protoc makes from a file, without its package."""
    return f"{PurePosixPath(proto).stem}_pb2"


def package(proto: str) -> str:
    """The package of that module."""
    return ".".join(PurePosixPath(proto).parent.parts)


def _messages(file: FileDescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
    """Every message of a file with its path; a nested message comes after the message that holds it."""
    waiting = [(message.name, message) for message in reversed(file.message_type)]
    while waiting:
        path, message = waiting.pop()
        yield path, message
        waiting.extend((f"{path}.{nested.name}", nested) for nested in reversed(message.nested_type))


def _is_member(field: FieldDescriptorProto) -> bool:
    return field.HasField("oneof_index") and not field.proto3_optional


def _literal(words: Sequence[str]) -> str:
    quoted = ", ".join(f'"{word}"' for word in words)
    return f"Literal[{quoted}]"
