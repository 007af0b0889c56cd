"""Reads a request's body, up to a limit."""

from starlette.types import Receive

from services.mesh.errors import Cancelled, ResourceExhausted


async def read_body(receive: Receive, announced: bytes | None, limit: int) -> bytes | bytearray:
    """The whole body; `announced` is the Content-Length header.

    Raises:
        ResourceExhausted: BODY_TOO_LARGE, as soon as it is known to be.
        Cancelled: the client went away first.
    """
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    message = await receive()
    body: bytes | bytearray = message.get("body", b"")
    if message.get("more_body", False):
        body = bytearray(body)
    while message.get("more_body", False) and len(body) <= limit:
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise Cancelled("the client went away")
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> ResourceExhausted:
    return ResourceExhausted(f"The request is larger than {limit} bytes.", reason="BODY_TOO_LARGE")
