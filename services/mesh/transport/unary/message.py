"""gRPC's length-prefixed messages: a flag, the length, and the message, which the flag says is compressed.

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
"""What a message may be compressed with, as a client is told."""

# zlib finds out by itself which of its two formats it is given.
_EITHER_FORMAT = 32 + zlib.MAX_WBITS
_GZIP = 16 + zlib.MAX_WBITS
_FAST = 1
# What takes a millisecond or more is left to a thread.
_LARGE_BYTES = 64 * 1024


async def content_of(body: bytes, encoding: bytes, limit: int) -> bytes | None:
    """The one message of a request, decompressed; None where the body is no single message.

    Args:
        body: all of the request.
        encoding: what `grpc-encoding` says.
        limit: bytes a message may have.

    Raises:
        ResourceExhausted: it has more.
        Unimplemented: it is compressed in a way not known here.
        Internal: it is compressed, and nobody has said how.
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
    """As the gateway says it of what is larger still."""
    return errors.ResourceExhausted("the message is larger than allowed", reason=reasons.PAYLOAD_TOO_LARGE)


async def _decompressed(message: bytes, limit: int) -> bytes | None:
    stream = zlib.decompressobj(_EITHER_FORMAT)
    try:
        content = stream.decompress(message, min(limit + 1, _LARGE_BYTES))
        if not stream.eof and len(content) <= limit:
            # How large it is, only the end of it says.
            content += await asyncio.to_thread(stream.decompress, stream.unconsumed_tail, limit + 1 - len(content))
    except zlib.error:
        return None
    if len(content) > limit:
        raise too_large()
    return content if stream.eof and not stream.unused_data else None


def _compress(message: bytes) -> bytes:
    return zlib.compress(message, _FAST, _GZIP)
