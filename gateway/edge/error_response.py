"""Errors of the mesh as HTTP, in the shape of a surface: a status, a body, and the seconds until a retry."""

import math
from dataclasses import dataclass

import orjson
from soma.errors.v1 import reasons

from services.mesh.call.errors import MeshError
from services.mesh.surfaces.error_shape import ErrorShape

# Statuses that ask the client to retry, with the seconds to wait if the error has none.
RETRY_AFTER_SECONDS = {429: 1, 503: 1}


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error as HTTP: `body` is the whole JSON object."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


def declared(error: MeshError) -> reasons.Declared | None:
    """The declaration of the error's reason, if the contracts have it with this status."""
    said = reasons.DECLARED.get(error.reason)
    return said if said and said.status == error.code.name else None


def http_status(error: MeshError) -> int:
    """The HTTP status of an error; a surface may replace it."""
    said = declared(error)
    return said.http if said else reasons.HTTP_STATUSES[error.code.name]


def in_shape(
    error: MeshError, shape: ErrorShape, *, reason: str, message: str, field: str | None, request_id: str = ""
) -> ErrorResponse:
    """Make the answer in a shape, with a `reason`, a `message` and a `field` in the terms of the protocol."""
    status = http_status(error)
    stated = shape.stated(
        status, canonical=error.code.name, reason=reason, message=message, field=field, request_id=request_id
    )
    headers = [(name.encode(), value.encode()) for name, value in stated.headers.items()]
    if status == 405:
        headers.append((b"allow", error.facts.metadata["allow"].encode()))
    else:
        headers += _retry_after(status, error.facts.retry_after)
    return ErrorResponse(stated.status, orjson.dumps(stated.body), tuple(headers))


def _retry_after(status: int, seconds: float | None) -> tuple[tuple[bytes, bytes], ...]:
    if seconds is None:
        seconds = RETRY_AFTER_SECONDS.get(status)
    if seconds is None:
        return ()
    return ((b"retry-after", b"%d" % max(1, math.ceil(seconds))),)
