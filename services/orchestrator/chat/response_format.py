"""Checks whether a text fits the response format of its request."""

from collections.abc import Callable

import jsonschema_rs
import orjson
from soma.errors.v1 import reasons
from soma.model.v1.options_pb2 import ResponseFormat

from services.mesh.call import errors

# Takes a text, and returns what is wrong with it, or None.
Check = Callable[[str], str | None]

# A pattern that needs more steps than this counts as no match, so that a schema cannot block the event loop.
_PATTERN_STEPS = 100_000
_PROBLEM_CHARS = 1000


def checker(response_format: ResponseFormat) -> Check | None:
    """The check of a response format; None if every text fits it.

    Raises:
        InvalidArgument: INVALID_JSON_SCHEMA: the schema is not valid.
    """
    if response_format.type == ResponseFormat.TYPE_JSON_OBJECT:
        return _not_an_object
    if response_format.type != ResponseFormat.TYPE_JSON_SCHEMA:
        return None
    validator = _validator(response_format.schema)

    def check(text: str) -> str | None:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return f"it is not JSON: {error}"
        wrong = next(iter(validator.iter_errors(value)), None)
        return None if wrong is None else _problem(wrong)

    return check


def _validator(schema: str) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(
            orjson.loads(schema or "{}"),
            offline=True,
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_PATTERN_STEPS),
        )
    except ValueError as error:
        message = f"Invalid schema for response_format: {str(error).splitlines()[0][:_PROBLEM_CHARS]}"
        raise errors.InvalidArgument(
            message, reason=reasons.INVALID_JSON_SCHEMA, violations=[errors.FieldViolation("response_format", message)]
        ) from error


def _not_an_object(text: str) -> str | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return f"it is not JSON: {error}"
    return None if isinstance(value, dict) else "it is JSON, but not an object"


def _problem(wrong: jsonschema_rs.ValidationError) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in wrong.instance_path)
    return f"at ${path}: {wrong.message[:_PROBLEM_CHARS]}"
