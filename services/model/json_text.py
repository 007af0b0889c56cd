"""Conversions between contracts and JSON: objects that are sent as text, and numbers that are 32-bit floats."""

import json
from typing import Any

import orjson

from services.mesh.call import errors


def parse_object(text: str, field: str) -> dict[str, Any]:
    """Parse a JSON object that a caller sent as text.

    Raises:
        InvalidArgument: the text is not a JSON object; the error names the field.
    """
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _not_an_object(field, str(error)) from error
    if not isinstance(parsed, dict):
        raise _not_an_object(field, "it is another kind of value")
    return parsed


def object_in(text: str) -> dict[str, Any]:
    """The JSON object in a text that the mesh made or a provider sent; empty if there is none."""
    try:
        parsed = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _not_an_object(field: str, why: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"{field} is not a JSON object", violations=[errors.FieldViolation(field, f"must be a JSON object: {why}")]
    )


def object_text(value: Any) -> str:
    """The JSON text of what a provider sent; half of a surrogate pair in it stays an escape."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value)


def decimal(value: float) -> float:
    """A 32-bit float as its caller wrote it: the shortest decimal with the same value, 0.7 and not 0.699999988."""
    return float(f"{value:.7g}")
