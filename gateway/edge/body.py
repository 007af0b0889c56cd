"""Reads a request's body, up to a limit, and the JSON object in it."""

from collections.abc import Collection
from typing import Any

import orjson
from soma.errors.v1 import reasons
from starlette.types import Receive

from services.mesh.call.errors import Cancelled, InvalidArgument, ResourceExhausted

# A body over the limit is read and dropped up to so many times the limit: a client that writes its request before it
# reads the answer, as most do, would see a broken connection in place of the refusal.
_DRAINED = 4


async def read_body(receive: Receive, announced: bytes | None, limit: int) -> bytes | bytearray:
    """The whole body; `announced` is the Content-Length header.

    Raises:
        ResourceExhausted: BODY_TOO_LARGE.
        Cancelled: the client went away first.
    """
    drained = limit * _DRAINED
    if announced is not None and announced.isdigit() and int(announced) > drained:
        raise _too_large(limit)
    message = await receive()
    body: bytes | bytearray = message.get("body", b"")
    if message.get("more_body", False):
        body = bytearray(body)
    read = len(body)
    while message.get("more_body", False) and read <= drained:
        message = await receive()
        more = message.get("body", b"")
        read += len(more)
        if read <= limit:
            body += more
    if message["type"] == "http.disconnect":
        raise Cancelled("the client went away")
    if read > limit:
        raise _too_large(limit)
    return body


def read_object(body: bytes | bytearray, known: Collection[str]) -> dict[str, Any]:
    """The JSON object a body is, which may have only the `known` members.

    Raises:
        InvalidArgument: it is none, or has others.
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"We could not parse the JSON body of your request: {error}") from error
    if type(given) is not dict:
        raise InvalidArgument("We could not parse the JSON body of your request: expected an object.")
    if unknown := [name for name in given if name not in known]:
        plural = "s" if len(unknown) > 1 else ""
        raise InvalidArgument(f"Unrecognized request argument{plural} supplied: {', '.join(unknown)}")
    return given


def _too_large(limit: int) -> ResourceExhausted:
    return ResourceExhausted(f"The request is larger than {limit} bytes.", reason=reasons.BODY_TOO_LARGE)
