"""The media type of bytes: what their first bytes show, compared with what the caller declared."""

import mimetypes
import re
from dataclasses import dataclass, field

from services.model.media.contents import WORDS, Kind

# A text is recognized by this number of bytes at its beginning.
_LOOKED_AT = 8192
# A PDF may have other bytes before its header (ISO 32000-1, annex H.3.4.1).
_PDF_WITHIN = 1024
# Types that say nothing.
_GENERIC = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/unknown"})
# Sounds without a header: the declared type is all there is.
_RAW_SOUNDS = frozenset({"audio/pcm", "audio/pcm16", "audio/l16", "audio/basic"})
_WELL_FORMED = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+")
_TEXT_TYPES = re.compile(
    r"text/.+|application/(.+\+)?(json|xml|yaml|x-yaml|toml|javascript|x-ndjson|jsonl|sql|rtf|x-sh)"
)
_SAME = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
    "image/x-bmp": "image/bmp",
    "image/heic-sequence": "image/heic",
    "image/heif-sequence": "image/heif",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-mpeg": "audio/mpeg",
    "audio/x-flac": "audio/flac",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "audio/x-aac": "audio/aac",
    "audio/aacp": "audio/aac",
    "audio/x-aiff": "audio/aiff",
    "application/x-pdf": "application/pdf",
}


class Wrong(Exception):
    """Why a content is refused. The text ends a sentence that begins with the content."""


@dataclass(frozen=True, slots=True)
class Format:
    """What bytes are.

    Attributes:
        media_type: the type for providers.
        also: other types that the same bytes may be declared with, because the format holds several things.
    """

    media_type: str
    also: frozenset[str] = field(default_factory=frozenset)

    @property
    def types(self) -> tuple[str, ...]:
        return (self.media_type, *sorted(self.also))


_PNG = Format("image/png", frozenset({"image/apng"}))
_TIFF = Format("image/tiff")
_MP3 = Format("audio/mpeg")
_AAC = Format("audio/aac")
_PDF = Format("application/pdf")
_TEXT = Format("text/plain")
_HEIC = Format("image/heic", frozenset({"image/heif"}))
_HEIF = Format("image/heif", frozenset({"image/heic"}))
_AVIF = Format("image/avif", frozenset({"image/heif"}))
_M4A = Format("audio/mp4", frozenset({"video/mp4"}))
_MP4 = Format("video/mp4", frozenset({"audio/mp4", "video/quicktime"}))
_WEBM = Format("video/webm", frozenset({"audio/webm", "video/x-matroska", "audio/x-matroska", "video/matroska"}))
_OGG = Format("audio/ogg", frozenset({"application/ogg", "video/ogg", "audio/opus", "audio/vorbis"}))
_FLAC = Format("audio/flac")
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", _PNG),
    (b"\xff\xd8\xff", Format("image/jpeg")),
    (b"GIF87a", Format("image/gif")),
    (b"GIF89a", Format("image/gif")),
    (b"II*\x00", _TIFF),
    (b"MM\x00*", _TIFF),
    (b"fLaC", _FLAC),
    (b"OggS", _OGG),
    (b"ID3", _MP3),
    (b"\x1a\x45\xdf\xa3", _WEBM),
)
# The four letters after the size of a RIFF or AIFF file.
_CONTAINED = {
    (b"RIFF", b"WEBP"): Format("image/webp"),
    (b"RIFF", b"WAVE"): Format("audio/wav"),
    (b"RF64", b"WAVE"): Format("audio/wav"),
    (b"FORM", b"AIFF"): Format("audio/aiff"),
    (b"FORM", b"AIFC"): Format("audio/aiff"),
}
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_SIZES_OF_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})


def recognized(data: bytes) -> Format | None:
    """What the first bytes show; None if they show nothing."""
    for beginning, found in _BEGINNINGS:
        if data.startswith(beginning):
            return found
    if (contained := _CONTAINED.get((data[:4], data[8:12]))) is not None:
        return contained
    if data[4:8] == b"ftyp":
        return _of_brands(data)
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _SIZES_OF_BMP_HEADERS:
        return Format("image/bmp")
    if (frame := _of_frame(data)) is not None:
        return frame
    if data.startswith(b"%PDF-"):
        return _PDF
    if _is_text(data[:_LOOKED_AT]):
        return _TEXT
    return _PDF if b"%PDF-" in data[:_PDF_WITHIN] else None


def checked(kind: Kind, declared: str, data: bytes, *, name: str = "", served: str = "") -> str:
    """The media type that a provider is told.

    Args:
        declared: what the caller says; may be empty.
        name: name of the file; it tells the type of a document whose bytes show nothing.
        served: what the server says that the bytes came from; used instead of `declared` if the bytes show nothing.

    Raises:
        Wrong: the bytes are of another type, or a picture or a sound is none.
    """
    if not data:
        raise Wrong("is empty")
    said, beginning = normal(declared), data[:_LOOKED_AT]
    found = recognized(data)
    if _TEXT_TYPES.fullmatch(said) and _is_text(beginning):
        # A text may begin with the letters that another format begins with.
        found = _TEXT
    if found is None and b"\x00" not in beginning and _TEXT_TYPES.fullmatch(said or normal(served)):
        # A text in another encoding than UTF-8.
        found = _TEXT
    if found is None or found is _TEXT:
        return _without_header(kind, normal(served) if said in _GENERIC else said, name, found)
    fitting = [each for each in found.types if kind == "file" or _fits(kind, each)]
    if not fitting:
        raise Wrong(f"is {found.media_type}, which is not a {WORDS[kind]}")
    if said in _GENERIC:
        return fitting[0]
    if said not in found.types:
        raise Wrong(f"is declared as {said}, but its bytes are {found.media_type}")
    return said if said in fitting else fitting[0]


def normal(declared: str) -> str:
    """A media type in lower case, without its parameters and under its usual name; empty if it is none."""
    plain = declared.partition(";")[0].strip().lower()
    return _SAME.get(plain, plain) if _WELL_FORMED.fullmatch(plain) else ""


def may_be(kind: Kind, served: str) -> bool:
    """Whether bytes that a server declares with this type may be of the kind."""
    return kind == "file" or served in _GENERIC or _fits(kind, served)


def _fits(kind: Kind, media_type: str) -> bool:
    """Whether a type is of the kind. A container of films may hold a sound alone."""
    if kind == "audio":
        return media_type.startswith(("audio/", "video/")) or media_type == "application/ogg"
    return media_type.startswith("image/")


def _without_header(kind: Kind, said: str, name: str, found: Format | None) -> str:
    """The type of bytes that are a text, or show nothing."""
    if kind == "audio" and said in _RAW_SOUNDS:
        return said
    if kind != "file":
        raise Wrong(f"is {'text' if found else 'of no known format'}, not a {WORDS[kind]}{_declared(said)}")
    if said in _KNOWN_BY_BYTES:
        raise Wrong(f"is declared as {said}, but its bytes are {'text' if found else 'of no known format'}")
    if found is None and _TEXT_TYPES.fullmatch(said):
        raise Wrong(f"is declared as {said}, but its bytes are not text")
    if said not in _GENERIC:
        return said
    guessed = normal(mimetypes.guess_type(name)[0] or "")
    if guessed and guessed not in _KNOWN_BY_BYTES and (found is None) != bool(_TEXT_TYPES.fullmatch(guessed)):
        return guessed
    return "text/plain" if found else "application/octet-stream"


def _declared(said: str) -> str:
    return "" if said in _GENERIC else f", though it is declared as {said}"


def _of_brands(data: bytes) -> Format:
    """The format of an ISO base media file, by the brands in its first box."""
    size = min(int.from_bytes(data[:4], "big"), 512)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, size, 4))}
    if brands & {b"avif", b"avis"}:
        return _AVIF
    if brands & _HEIC_BRANDS:
        return _HEIC
    if brands & {b"mif1", b"msf1"}:
        return _HEIF
    return _M4A if data[8:11] in (b"M4A", b"M4B") else _MP4


def _of_frame(data: bytes) -> Format | None:
    """MPEG audio without a tag before it: the header of its first frame (ISO 11172-3, 2.4.1.3; ISO 13818-7, 6.2)."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
    if layer == 0:
        return _AAC if data[1] & 0xF6 == 0xF0 and data[2] >> 2 & 0xF <= 12 else None
    is_frame = version != 1 and data[2] >> 4 != 0xF and data[2] >> 2 & 3 != 3
    return _MP3 if is_frame else None


def _is_text(beginning: bytes) -> bool:
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if b"\x00" in beginning:
        return False
    try:
        beginning.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may continue after the bytes that were looked at.
        return len(beginning) == _LOOKED_AT and error.start >= _LOOKED_AT - 3
    return True


# A document that is declared as one of these is recognized if it is one.
_KNOWN_BY_BYTES = frozenset(
    each
    for found in (*(one for _, one in _BEGINNINGS), *_CONTAINED.values(), _PDF, _HEIC, _AVIF, _M4A, _MP4)
    for each in found.types
) | {"image/bmp"}
