"""The header of a picture: whether it has pixels, and whether the file is as long as the header says."""

from collections.abc import Callable
from struct import Struct

from services.model.media.media_type import Wrong

_BIG_PAIR = Struct(">II")
_LITTLE_PAIR = Struct("<HH")
# The last chunk of a PNG, with its checksum.
_END_OF_PNG = b"\x00\x00\x00\x00IEND\xaeB`\x82"
# More segments before the size of a JPEG than a camera writes.
_MOST_SEGMENTS = 1000
_MOST_BOXES = 1000
# Markers that begin a frame of a JPEG, which has its size (ITU-T T.81, table B.1).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers without a length.
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})


def check(media_type: str, data: bytes) -> None:
    """Check a picture whose type was recognized by its first bytes. A format without an entry here is not checked.

    Raises:
        Wrong: it has no pixels, or its end is missing.
    """
    reader = _READERS.get(media_type)
    if reader is None:
        return
    width, height = reader(data)
    if not width or not height:
        raise Wrong(f"has no pixels: its size is {width} x {height}")


def _png(data: bytes) -> tuple[int, int]:
    _long_enough(data, 33)
    if data[12:16] not in (b"IHDR", b"CgBI"):
        raise Wrong("is no PNG: its first chunk is not a header")
    if data.rfind(_END_OF_PNG) < 0:
        raise _cut()
    # Apple's own PNGs have a chunk before the header.
    at = 16 if data[12:16] == b"IHDR" else data.find(b"IHDR", 0, 64) + 4
    return _BIG_PAIR.unpack_from(data, at)


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(_MOST_SEGMENTS):
        at = _next_marker(data, at)
        marker = data[at]
        if marker in _FRAMES:
            _long_enough(data, at + 8)
            if data.rfind(b"\xff\xd9", at) < 0:
                raise _cut()
            return int.from_bytes(data[at + 6 : at + 8], "big"), int.from_bytes(data[at + 4 : at + 6], "big")
        if marker in (0xD9, 0xDA):
            break
        at += 1 if marker in _BARE else 1 + max(2, int.from_bytes(data[at + 1 : at + 3], "big"))
    raise Wrong("is no JPEG: it has no size")


def _next_marker(data: bytes, at: int) -> int:
    """The place of the next marker's second byte; any number of 0xFF may be before it."""
    _long_enough(data, at + 2)
    if data[at] != 0xFF:
        raise Wrong("is no JPEG: a segment has a wrong length")
    while at < len(data) and data[at] == 0xFF:
        at += 1
    _long_enough(data, at + 1)
    return at


def _gif(data: bytes) -> tuple[int, int]:
    _long_enough(data, 14)
    return _LITTLE_PAIR.unpack_from(data, 6)


def _webp(data: bytes) -> tuple[int, int]:
    _long_enough(data, 25)
    _long_enough(data, 8 + int.from_bytes(data[4:8], "little"))
    match data[12:16]:
        case b"VP8 ":
            _long_enough(data, 30)
            width, height = _LITTLE_PAIR.unpack_from(data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            _long_enough(data, 30)
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case _:
            raise Wrong("is no WEBP: its first chunk is not known")


def _bmp(data: bytes) -> tuple[int, int]:
    _long_enough(data, 26)
    begin = int.from_bytes(data[10:14], "little")
    _long_enough(data, begin + 1)
    if int.from_bytes(data[14:18], "little") < 40:
        return _LITTLE_PAIR.unpack_from(data, 18)
    _long_enough(data, 40)
    # A negative height says that the first line is the highest one.
    width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
    width, height = max(0, width), abs(height)
    if not int.from_bytes(data[30:34], "little"):
        # Not compressed: each line has whole words of four bytes.
        bits = width * int.from_bytes(data[28:30], "little")
        _long_enough(data, begin + (bits + 31) // 32 * 4 * height)
    return width, height


def _boxes(data: bytes) -> tuple[int, int]:
    """HEIC and AVIF: ISO base media files, whose boxes have their lengths (ISO 14496-12, 4.2)."""
    at = 0
    for _ in range(_MOST_BOXES):
        if at == len(data):
            break
        _long_enough(data, at + 8)
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            _long_enough(data, at + 16)
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:
            break
        if size < 8:
            raise Wrong("is damaged: a box of it has a wrong length")
        at += size
        _long_enough(data, at)
    # Without this property the size is in the coded picture, which is not read here.
    found = data.find(b"ispe")
    if found < 0 or len(data) < found + 16:
        return 1, 1
    return _BIG_PAIR.unpack_from(data, found + 8)


def _long_enough(data: bytes, size: int) -> None:
    if len(data) < size:
        raise _cut()


def _cut() -> Wrong:
    return Wrong("is cut off: its end is missing")


_READERS: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "image/png": _png,
    "image/apng": _png,
    "image/jpeg": _jpeg,
    "image/gif": _gif,
    "image/webp": _webp,
    "image/bmp": _bmp,
    "image/heic": _boxes,
    "image/heif": _boxes,
    "image/avif": _boxes,
}
