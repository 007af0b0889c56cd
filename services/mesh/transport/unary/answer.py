"""An answer on the wire: a head, one message or none, and a trailer that says how the call ended.

If a call fails before its head is sent, the head holds everything (gRPC's "Trailers-Only").
"""

from collections.abc import Iterable

from services.mesh.call.status import DETAILS_KEY, RETRY_KEY, shortened
from services.mesh.transport.limits import METADATA_BYTES
from services.mesh.transport.unary.message import ENCODINGS
from services.mesh.transport.unary.metadata import Pairs, lines_of, status_lines

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-accept-encoding: " + ENCODINGS + b"\r\n"
_IN_GZIP = b"grpc-encoding: gzip\r\n"
_LAST = b"connection: close\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
_NO_BODY = b"content-length: 0\r\n\r\n"
_END_OF_BODY = b"0\r\n"
# The limits of a failure that is too long for a trailer: of its message, and of its details before base64.
_SHORT_CHARACTERS = 1024
_SHORT_BYTES = METADATA_BYTES // 2


def head(initial: Iterable[tuple[str, str | bytes]] = (), *, compressed: bool = False, last: bool = False) -> bytes:
    """The head of an answer, with its initial metadata; `last` says that the connection closes after the answer.

    Raises:
        ValueError: HTTP cannot carry the metadata.
    """
    return b"".join((_HEAD, _IN_GZIP if compressed else b"", lines_of(initial), _LAST if last else b"", _CHUNKED))


def end(framed: bytes, trailing: Iterable[tuple[str, str | bytes]] = (), message: str = "") -> bytes:
    """The end of an answer to a call that succeeded: the response, the trailing metadata and a status message, if any.

    Raises:
        ValueError: HTTP cannot carry the trailing metadata.
    """
    return b"%x\r\n%s\r\n%s%s%s\r\n" % (
        len(framed),
        framed,
        _END_OF_BODY,
        status_lines(0, message),
        lines_of(trailing),
    )


def failure(code: int, message: str, trailing: Pairs, *, begun: bool, last: bool) -> bytes:
    """The answer to a call that failed: the end of it if the head is sent (`begun`), otherwise all of it.

    If it is too long for a trailer, it is shortened and the servicer's metadata left out, so that the status arrives.

    Raises:
        ValueError: HTTP cannot carry the trailing metadata.
    """
    lines = status_lines(code, message) + lines_of(trailing)
    if len(lines) > METADATA_BYTES:
        lines = status_lines(code, message[:_SHORT_CHARACTERS]) + lines_of(_short(trailing, message))
    if begun:
        return b"%s%s\r\n" % (_END_OF_BODY, lines)
    return b"".join((_HEAD, lines, _LAST if last else b"", _NO_BODY))


def _short(trailing: Pairs, message: str) -> Pairs:
    """The status details and the time to retry, as short as a trailer needs them."""
    return tuple(
        (key, shortened(value, message[:_SHORT_CHARACTERS], _SHORT_BYTES) if isinstance(value, bytes) else value)
        for key, value in trailing
        if key in (DETAILS_KEY, RETRY_KEY)
    )
