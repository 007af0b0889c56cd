"""JSON values, between Python and protobuf."""

import json
import math
from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2

# Protobuf stores every number as a double. Larger integers are not exact.
LARGEST_INTEGER = 2**53


def to_value(value: object) -> struct_pb2.Value:
    """A JSON value as a message.

    Raises:
        ValueError: the value is not JSON, or it holds a number that a double cannot represent exactly.
    """
    match value:
        case None:
            return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
        case bool():
            return struct_pb2.Value(bool_value=value)
        case int() if abs(value) <= LARGEST_INTEGER:
            return struct_pb2.Value(number_value=value)
        case float() if math.isfinite(value):
            return struct_pb2.Value(number_value=value)
        case str():
            return struct_pb2.Value(string_value=value)
        case Mapping():
            return struct_pb2.Value(struct_value=to_struct(value))
        case list() | tuple():
            return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[to_value(each) for each in value]))
    raise ValueError(f"{value!r:.80} cannot be kept as JSON")


def to_struct(value: Mapping[Any, Any]) -> struct_pb2.Struct:
    """A JSON object as a message.

    Raises:
        ValueError: the object is not JSON.
    """
    if wrong := [key for key in value if not isinstance(key, str)]:
        raise ValueError(f"a JSON object's keys are text, which {wrong[0]!r:.80} is not")
    return struct_pb2.Struct(fields={key: to_value(each) for key, each in value.items()})


def from_value(value: struct_pb2.Value) -> Any:
    """A JSON value as a Python value; a whole number becomes an `int`."""
    match value.WhichOneof("kind"):
        case "bool_value":
            return value.bool_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= LARGEST_INTEGER else number
        case "string_value":
            return value.string_value
        case "struct_value":
            return from_struct(value.struct_value)
        case "list_value":
            return [from_value(each) for each in value.list_value.values]
    return None


def from_struct(value: struct_pb2.Struct) -> dict[str, Any]:
    """A JSON object as a Python dictionary."""
    return {key: from_value(each) for key, each in value.fields.items()}


def to_json(members: Mapping[str, Any]) -> str:
    """The text of a JSON object; empty when it has no members.

    Raises:
        TypeError: it is not a mapping, or a value is not JSON.
        ValueError: a number is not JSON.
    """
    if not isinstance(members, Mapping):
        raise TypeError(f"a JSON object is a mapping, which {members!r:.80} is not")
    return json.dumps(dict(members), ensure_ascii=False, allow_nan=False) if members else ""


def from_json(text: str) -> Mapping[str, Any]:
    """The members of a JSON object; an empty text has none."""
    members: Mapping[str, Any] = json.loads(text) if text else {}
    return members
