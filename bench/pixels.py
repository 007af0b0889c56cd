"""The picture that is sent in measurements: a PNG of about 1 MiB, the same in every process."""

import base64
import random
import struct
import zlib
from functools import cache

WIDTH, HEIGHT = 512, 682


@cache
def picture() -> str:
    """The picture as base64. Its pixels are noise, so that nothing can compress it."""
    noise = random.Random(1)
    # Each row begins with the number of its filter: 0 is none.
    rows = b"".join(b"\0" + noise.randbytes(3 * WIDTH) for _ in range(HEIGHT))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 0)) + _chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
