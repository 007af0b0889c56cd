"""Refuses requests that break the `buf.validate` rules of their contract, and names every violation."""

from typing import Any

import protovalidate
from google.protobuf.message import Message

from services.mesh.call import errors
from services.mesh.call.call import Call
from services.mesh.call.hooks import Hooks
from services.mesh.call.method import Method

_validator = protovalidate.Validator()


def validation(_: Method) -> Hooks:
    """Check each request message."""
    return Hooks(received=_received)


def _received(call: Call, message: Message) -> None:
    try:
        _validator.validate(message)
    except protovalidate.ValidationError as error:
        raise refused(error) from None


def refused(error: protovalidate.ValidationError) -> errors.InvalidArgument:
    """The typed error for violations: one FieldViolation each, the first in the message."""
    violations = [errors.FieldViolation(_path(v.proto.field), v.proto.message) for v in error.violations]
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return errors.InvalidArgument(f"{first.field}: {first.description}{more}", violations=violations)


def _path(field: Any) -> str:
    parts: list[str] = []
    for element in field.elements:
        subscript = element.subscript
        key = "" if subscript is None else f"[{subscript.value!r}]"
        parts.append(f"{element.field_name}{key}")
    return ".".join(parts)
