"""Protobuf's well-known types and Python's values: Value and Struct as JSON for searching, times as Timestamp."""

import math

from google.protobuf.struct_pb2 import Struct, Value

from services.memory.passages import Json
from services.mesh.call import errors

# Integers up to here are exact in a double.
_EXACT = 2**53


def to_json(value: Value, field: str) -> Json:
    """The value as JSON.

    Raises:
        InvalidArgument: it is no JSON: its kind is not set, or a number is not finite; the error names `field`.
    """
    match value.WhichOneof("kind"):
        case "null_value":
            return None
        case "bool_value":
            return value.bool_value
        case "number_value":
            return _number(value.number_value, field)
        case "string_value":
            return _text(value.string_value)
        case "list_value":
            return [to_json(inner, field) for inner in value.list_value.values]
        case "struct_value":
            return struct_to_json(value.struct_value, field)
        case _:
            raise _invalid(field, "a value without a kind is no JSON")


def struct_to_json(struct: Struct, field: str) -> dict[str, Json]:
    """The object as JSON.

    Raises:
        InvalidArgument: as `to_json`.
    """
    return {_text(name): to_json(inner, field) for name, inner in struct.fields.items()}


def _number(number: float, field: str) -> int | float:
    if not math.isfinite(number):
        raise _invalid(field, "numbers are finite in JSON")
    return int(number) if number.is_integer() and abs(number) <= _EXACT else number


def _text(text: str) -> str:
    # Postgres keeps no NUL in text, so it is replaced in filters and in stored metadata alike.
    return text.replace("\0", "\ufffd")


def _invalid(field: str, why: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"{field}: {why}", violations=(errors.FieldViolation(field, why),))
