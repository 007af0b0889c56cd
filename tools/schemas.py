"""JSON Schemas of the contracts' messages, for the JSON that the gateway reads and writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

Schema = dict[str, Any]

WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.Empty": {"type": "object", "additionalProperties": False},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": {}},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Value": {},
}
_T = FieldDescriptorProto
_SCALARS: Mapping[int, tuple[str, Schema]] = {
    _T.TYPE_BOOL: ("bool", {"type": "boolean"}),
    _T.TYPE_BYTES: ("bytes", {"type": "string", "contentEncoding": "base64"}),
    _T.TYPE_STRING: ("string", {"type": "string"}),
    _T.TYPE_FLOAT: ("float", {"type": "number", "format": "float"}),
    _T.TYPE_DOUBLE: ("double", {"type": "number", "format": "double"}),
    _T.TYPE_INT32: ("int32", {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1}),
    _T.TYPE_UINT32: ("uint32", {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}),
    # ProtoJSON writes 64-bit integers as text.
    _T.TYPE_INT64: ("int64", {"type": "string", "pattern": "^-?[0-9]{1,19}$"}),
    _T.TYPE_UINT64: ("uint64", {"type": "string", "pattern": "^[0-9]{1,20}$"}),
}


class Schemas:
    """The schemas of a descriptor set with source information; each is made when it is first used."""

    def __init__(self, files: FileDescriptorSet) -> None:
        self._messages: dict[str, DescriptorProto] = {}
        self._enums: dict[str, EnumDescriptorProto] = {}
        self._comments: dict[str, str] = {}
        self.made: dict[str, Schema] = {}
        for file in files.file:
            self._comments.update(_comments(file))
            for message in file.message_type:
                self._add(f"{file.package}.{message.name}", message)
            self._enums.update((f"{file.package}.{enum.name}", enum) for enum in file.enum_type)

    def fields(self, message: str) -> Sequence[FieldDescriptorProto]:
        """The fields of a message."""
        return self._messages[message].field

    def comment(self, name: str) -> str:
        """The contract's comment on a message, a field (`message.field`) or an RPC (`service.rpc`)."""
        return self._comments.get(name, "")

    def reference(self, message: str) -> Schema:
        """A reference to the schema of a message; the schema and all that it refers to are made first."""
        if message in WELL_KNOWN:
            return dict(WELL_KNOWN[message])
        if message not in self.made:
            self.made[message] = {}
            self.made[message] = self.message(message)
        return {"$ref": f"#/components/schemas/{message}"}

    def message(self, name: str, without: Sequence[str] = ()) -> Schema:
        """The schema of a message, without some of its fields."""
        message = self._messages[name]
        fields = [field for field in message.field if field.name not in without]
        schema: Schema = {
            "type": "object",
            "title": name,
            "description": self.comment(name),
            "properties": {field.name: self.field(name, field) for field in fields},
            "additionalProperties": False,
        }
        if required := [field.name for field in fields if must_be_given(field)]:
            schema["required"] = required
        alternatives = list(_alternatives(message))
        if len(alternatives) == 1:
            schema["oneOf"] = alternatives[0]
        elif alternatives:
            schema["allOf"] = [{"oneOf": each} for each in alternatives]
        return schema

    def field(self, message: str, field: FieldDescriptorProto) -> Schema:
        """The schema of a field, with the contract's comment."""
        rules = field.options.Extensions[validate_pb2.field]
        if field.label != _T.LABEL_REPEATED:
            schema = self._value(field, rules)
        elif (entry := self._messages.get(_type(field))) is not None and entry.options.map_entry:
            value = entry.field[1]
            schema = {"type": "object", "additionalProperties": self._value(value, rules.map.values)}
            schema |= _limits(rules.map, minProperties="min_pairs", maxProperties="max_pairs")
        else:
            schema = {"type": "array", "items": self._value(field, rules.repeated.items)}
            schema |= _limits(rules.repeated, minItems="min_items", maxItems="max_items")
            if rules.repeated.unique:
                schema["uniqueItems"] = True
        if comment := self.comment(f"{message}.{field.name}"):
            schema["description"] = comment
        return schema

    def _value(self, field: FieldDescriptorProto, rules: Any) -> Schema:
        if field.type == _T.TYPE_MESSAGE:
            return self.reference(_type(field))
        if field.type == _T.TYPE_ENUM:
            return self._enum(field, rules)
        kind, schema = _SCALARS[field.type]
        own = getattr(rules, kind)
        if kind == "string":
            return {**schema, **_text(own, rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE)}
        if schema["type"] in ("integer", "number"):
            return {
                **schema,
                **_limits(own, minimum="gte", maximum="lte", exclusiveMinimum="gt", exclusiveMaximum="lt"),
            }
        return dict(schema)

    def _enum(self, field: FieldDescriptorProto, rules: Any) -> Schema:
        name = _type(field)
        enum = self._enums[name]
        if name not in self.made:
            values = "\n".join(f"- `{value.name}`: {self.comment(f'{name}.{value.name}')}" for value in enum.value)
            names = [value.name for value in enum.value]
            self.made[name] = {"type": "string", "title": name, "enum": names}
            self.made[name]["description"] = f"{self.comment(name)}\n\n{values}"
        schema: Schema = {"$ref": f"#/components/schemas/{name}"}
        if refused := [value.name for value in enum.value if value.number in rules.enum.not_in]:
            schema["not"] = {"enum": refused}
        return schema

    def _add(self, name: str, message: DescriptorProto) -> None:
        self._messages[name] = message
        self._enums.update((f"{name}.{enum.name}", enum) for enum in message.enum_type)
        for nested in message.nested_type:
            self._add(f"{name}.{nested.name}", nested)


def _type(field: FieldDescriptorProto) -> str:
    return field.type_name.removeprefix(".")


def _limits(rules: Any, **names: str) -> Schema:
    return {keyword: getattr(rules, rule) for keyword, rule in names.items() if rules.HasField(rule)}


def _text(rules: Any, may_be_empty: bool) -> Schema:
    schema = _limits(rules, minLength="min_len", maxLength="max_len", pattern="pattern")
    if rules.uuid:
        schema["format"] = "uuid"
    named = getattr(rules, "in")
    if named:
        schema["enum"] = [*named, *([""] if may_be_empty else [])]
    return {"anyOf": [schema, {"const": ""}], "type": "string"} if may_be_empty and not named else schema


def must_be_given(field: FieldDescriptorProto) -> bool:
    """Whether the contract requires a field, by a rule or because it refuses the field's default value."""
    rules = field.options.Extensions[validate_pb2.field]
    if field.HasField("oneof_index") and not field.proto3_optional:
        return False
    if rules.required or field.proto3_optional or rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
        return bool(rules.required)
    if field.label == _T.LABEL_REPEATED:
        return bool(rules.repeated.min_items or rules.map.min_pairs)
    if field.type == _T.TYPE_ENUM:
        return 0 in rules.enum.not_in
    if field.type == _T.TYPE_STRING:
        return bool(rules.string.min_len) or re.search(rules.string.pattern, "") is None
    kind, schema = _SCALARS.get(field.type, ("", {}))
    if schema.get("type") not in ("integer", "number"):
        return False
    own: Any = getattr(rules, kind)
    return bool(own.gte > 0 or (own.HasField("gt") and own.gt >= 0))


def _alternatives(message: DescriptorProto) -> Iterator[list[Schema]]:
    """For each oneof, its alternatives: one of its members, or none if the contract requires none."""
    for index, oneof in enumerate(message.oneof_decl):
        members = [f for f in message.field if f.HasField("oneof_index") and f.oneof_index == index]
        if any(field.proto3_optional for field in members):
            continue
        each: list[Schema] = [{"required": [field.name]} for field in members]
        if oneof.options.Extensions[validate_pb2.oneof].required:
            yield each
        else:
            yield [*each, {"not": {"anyOf": list(each)}}]


def _comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """The names in the file, each with the comment before it."""
    for location in file.source_code_info.location:
        if location.leading_comments:
            lines = (line.removeprefix(" ") for line in location.leading_comments.strip("\n").split("\n"))
            yield _element_name(file, location.path), "\n".join(lines)


def _element_name(file: FileDescriptorProto, path: Sequence[int]) -> str:
    """The name of the element at a path of field numbers and positions, as in SourceCodeInfo."""
    names = [file.package]
    here: Any = file
    for number, index in zip(path[::2], path[1::2], strict=False):
        field = here.DESCRIPTOR.fields_by_number[number]
        if not field.is_repeated or field.message_type is None:
            return ""
        here = getattr(here, field.name)[index]
        names.append(getattr(here, "name", ""))
    return ".".join(names)
