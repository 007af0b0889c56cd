"""Refuses a request of a client, and names the parameter at fault."""

from typing import NoReturn

from services.mesh.call.errors import FieldViolation, InvalidArgument


def refuse(message: str, param: str, reason: str) -> NoReturn:
    """Raise the 400 that names `param`, with a `reason` of the contracts."""
    raise InvalidArgument(message, reason=reason, violations=[FieldViolation(param, message)])
