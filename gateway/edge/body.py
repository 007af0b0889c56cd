"""Reads a request's body, up to a limit."""

from soma.errors.v1 import reasons
from starlette.types import Receive

from gateway.edge.headers import Headers
from services.mesh.call.errors import Cancelled, InvalidArgument, ResourceExhausted

DRAINED = 4
"""A body over the limit is read and dropped, up to this many times the limit. Most clients write the whole request
before they read the answer. Without this, they would see a broken connection instead of the refusal."""


async def read_body(receive: Receive, headers: Headers, limit: int) -> bytes | bytearray:
    """Read the whole body.

    Raises:
        InvalidArgument: UNSUPPORTED_ENCODING.
        ResourceExhausted: BODY_TOO_LARGE.
        Cancelled: the client left before the end of the body.
    """
    # A compressed body could have any size when it is unpacked.
    if headers.raw(b"content-encoding") not in (None, b"identity"):
        raise InvalidArgument(
            "Send the request body as it is: no content-encoding is read.", reason=reasons.UNSUPPORTED_ENCODING
        )
    announced = headers.raw(b"content-length")
    drained = limit * DRAINED
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


def _too_large(limit: int) -> ResourceExhausted:
    return ResourceExhausted(f"The request is larger than {limit} bytes.", reason=reasons.BODY_TOO_LARGE)
