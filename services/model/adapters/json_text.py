"""Between contracts and JSON: objects carried as text, and numbers carried as 32-bit floats."""

from typing import Any

import orjson

from services.mesh.call import errors


def parse_object(text: str, field: str) -> Any:
    """Read JSON a caller gave as text.

    Raises:
        InvalidArgument: it is none; names the field.
    """
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _not_an_object(field, str(error)) from error
    if not isinstance(parsed, dict):
        raise _not_an_object(field, "it is another kind of value")
    return parsed


def _not_an_object(field: str, why: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"{field} is not a JSON object", violations=[errors.FieldViolation(field, f"must be a JSON object: {why}")]
    )


def decimal(value: float) -> float:
    """A 32-bit float as its caller wrote it: the shortest decimal that means the same, 0.7 and not 0.699999988."""
    return float(f"{value:.7g}")
