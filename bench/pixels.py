"""The pictures that are sent in measurements: PNGs of about 1 MiB, which differ in their number."""

import base64
import random
import struct
import zlib
from functools import cache

WIDTH, HEIGHT = 512, 682
# A picture's number is as long as this one. In base64 it is six bytes after the end of the PNG, where decoders do not
# look.
NUMBER = "00000000"


@cache
def picture() -> str:
    """A picture as base64, but for its number. Its pixels are noise, so that nothing can compress it."""
    noise = random.Random(1)
    # Each row begins with the number of its filter: 0 is none.
    rows = b"".join(b"\0" + noise.randbytes(3 * WIDTH) for _ in range(HEIGHT))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 0)) + _chunk(b"IEND", b"")
    file = b"\x89PNG\r\n\x1a\n" + chunks
    # Without padding, so that the number can follow.
    return base64.b64encode(file + bytes(-len(file) % 3)).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
