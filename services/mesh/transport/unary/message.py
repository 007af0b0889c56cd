"""gRPC's length-prefixed messages: a flag that says whether the message is compressed, its length, and the message.

Source: PROTOCOL-HTTP2 of gRPC, "Length-Prefixed-Message", and its compression.md.
"""

import asyncio
import struct
import zlib

from soma.errors.v1 import reasons

from services.mesh.call import errors

_PREFIX = struct.Struct(">BI")
PREFIX_BYTES = _PREFIX.size
ENCODINGS = b"identity, deflate, gzip"
"""The encodings of messages, in the form of the header `grpc-accept-encoding`."""

# zlib recognises which of its two formats it gets.
_EITHER_FORMAT = 32 + zlib.MAX_WBITS
_GZIP = 16 + zlib.MAX_WBITS
_FAST = 1
# A larger message takes a millisecond or more, so a thread does it.
_LARGE_BYTES = 64 * 1024


async def content_of(body: bytes, encoding: bytes, limit: int) -> bytes | None:
    """The one message of a request, decompressed; None if the body is not exactly one message.

    Args:
        body: of the request.
        encoding: the value of `grpc-encoding`.
        limit: the most bytes a message may have.

    Raises:
        ResourceExhausted: the message is larger.
        Unimplemented: the encoding is not known here.
        Internal: the message is compressed, and its encoding is not named.
    """
    if len(body) < PREFIX_BYTES:
        return None
    compressed, length = _PREFIX.unpack_from(body)
    if length > limit:
        raise too_large()
    if length != len(body) - PREFIX_BYTES or compressed > 1:
        return None
    message = body[PREFIX_BYTES:]
    if not compressed:
        return message
    if encoding in (b"", b"identity"):
        raise errors.Internal(
            "the message is compressed, and its encoding is not named", reason=reasons.ENCODING_MISSING
        )
    if encoding not in (b"gzip", b"deflate"):
        raise errors.Unimplemented("the message is compressed in a way not known here", reason=reasons.ENCODING_UNKNOWN)
    return await _decompressed(message, limit)


async def framed(message: bytes, *, compress: bool) -> bytes:
    """A message as it is sent, in gzip where that makes it smaller."""
    if compress:
        large = len(message) > _LARGE_BYTES
        small = await asyncio.to_thread(_compress, message) if large else _compress(message)
        if len(small) < len(message):
            return _PREFIX.pack(1, len(small)) + small
    return _PREFIX.pack(0, len(message)) + message


def too_large() -> errors.ResourceExhausted:
    """The error for a message that is too large; the gateway uses the same for its own limit."""
    return errors.ResourceExhausted("the message is larger than allowed", reason=reasons.PAYLOAD_TOO_LARGE)


async def _decompressed(message: bytes, limit: int) -> bytes | None:
    stream = zlib.decompressobj(_EITHER_FORMAT)
    try:
        content = stream.decompress(message, min(limit + 1, _LARGE_BYTES))
        if not stream.eof and len(content) <= limit:
            # The size is known only at the end.
            content += await asyncio.to_thread(stream.decompress, stream.unconsumed_tail, limit + 1 - len(content))
    except zlib.error:
        return None
    if len(content) > limit:
        raise too_large()
    return content if stream.eof and not stream.unused_data else None


def _compress(message: bytes) -> bytes:
    return zlib.compress(message, _FAST, _GZIP)
