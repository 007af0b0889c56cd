"""Pictures, sounds and documents of a request: its addresses pass on, and its bytes are held while it is answered."""

import asyncio
import binascii
import mimetypes
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import NoReturn, Protocol

from pydantic import ConfigDict, TypeAdapter, ValidationError
from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import Media

from gateway.edge.refusal import refuse

# The media types of OpenAI's `format` of a sound, and of the formats that other providers have under this name.
SOUNDS = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "webm": "audio/webm",
}
# The id of bytes that the mesh keeps, as a listing of input items gives it.
KEPT = re.compile("blob_([0-9a-f]{64})")
MEDIA_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+")
LONGEST_URL = 8192
_decode: Callable[[str], bytes] = TypeAdapter(
    bytes, config=ConfigDict(val_json_bytes="base64")
).validator.validate_python
# Base64 of this many characters takes less than a millisecond to decode. It is a multiple of four, so that the pieces
# of a longer text can be decoded one after the other.
LONGEST_PIECE = 1 << 21


class Holder(Protocol):
    """Holds bytes for the services of the mesh: `mesh.blobs`."""

    def hold(self, tenant_id: str, data: bytes, *, base64: str = "") -> AbstractAsyncContextManager[str]:
        """Hold bytes while the block runs; gives their hash. `base64` is what an encoder makes of them, or empty."""
        ...

    async def read(self, tenant_id: str, hash: str) -> bytes:
        """The bytes that are held or kept for a tenant."""
        ...


def kept_id(hash: str) -> str:
    """The id of bytes that the mesh keeps; empty without a hash."""
    return f"blob_{hash}" if hash else ""


@dataclass(slots=True)
class Inline:
    """Bytes that a request has in itself: their base64 text, the parameter that has it, and where their hash goes."""

    media: Media
    base64: str
    param: str


class Attached:
    """Reads the media of one request, and collects those whose bytes the request has in itself."""

    __slots__ = ("inline",)

    def __init__(self) -> None:
        self.inline: list[Inline] = []

    def url(self, media: Media, url: str, param: str, kind: str = "") -> None:
        """Set the source to an address or to a data URL, whose type begins with `kind`.

        Raises:
            InvalidArgument: it is neither, or the data URL is not of this kind; the error names `param`.
        """
        if url[:5].lower() == "data:":
            self._data_url(media, url, param, kind)
        elif not url.startswith(("http://", "https://")):
            refuse(f"Invalid '{param}': expected an http or https URL, or a data URL.", param, reasons.INVALID_VALUE)
        elif len(url) > LONGEST_URL:
            message = f"Invalid '{param}': expected a URL of at most {LONGEST_URL} characters."
            refuse(message, param, reasons.STRING_ABOVE_MAX_LENGTH)
        else:
            media.url = url

    def sound(self, media: Media, data: str, form: str, param: str) -> None:
        """Set the source to a sound: base64, or a data URL; `form` is one of SOUNDS.

        Raises:
            InvalidArgument: the data URL is not one of a sound, or `form` is not known.
        """
        if form not in SOUNDS:
            known = ", ".join(f"'{name}'" for name in SOUNDS)
            message = f"Invalid value: '{form}'. Supported values are: {known}."
            refuse(message, f"{param}.format", reasons.INVALID_VALUE)
        if data[:5].lower() == "data:":
            self._data_url(media, data, f"{param}.data", "audio/")
        else:
            media.media_type = SOUNDS[form]
            self.inline.append(Inline(media, data, f"{param}.data"))

    def document(self, media: Media, data: str, param: str) -> None:
        """Set the source to a document: a data URL, or base64 whose type the name of the file tells.

        Raises:
            InvalidArgument: the type is not known.
        """
        if data[:5].lower() == "data:":
            self._data_url(media, data, param, "")
            return
        guessed = mimetypes.guess_type(media.name)[0]
        if guessed is None:
            _invalid("expected a data URL, or a 'filename' that tells the type of the file", param)
        media.media_type = guessed
        self.inline.append(Inline(media, data, param))

    def file(self, media: Media, file_id: str, param: str) -> None:
        """Set the source to a file that the provider has, or to bytes that the mesh keeps.

        Raises:
            InvalidArgument: the id is empty or too long.
        """
        if kept := KEPT.fullmatch(file_id):
            media.hash = kept[1]
            return
        if not 0 < len(file_id) <= 512:
            refuse(f"Invalid '{param}': expected a string of 1 to 512 characters.", param, reasons.INVALID_VALUE)
        media.file_id = file_id

    def _data_url(self, media: Media, url: str, param: str, kind: str) -> None:
        head, comma, data = url.partition(",")
        media_type, *parameters = head[5:].lower().split(";")
        if not comma or not parameters or parameters[-1].strip() != "base64":
            _invalid("expected a data URL in base64, such as 'data:image/png;base64,…'", param)
        if not MEDIA_TYPE.fullmatch(media_type):
            _invalid("the data URL does not say the type of its data", param)
        if not media_type.startswith(kind):
            _invalid(f"expected a data URL of the type '{kind}…', but got '{media_type[:128]}' instead", param)
        media.media_type = media_type
        self.inline.append(Inline(media, data, param))


def held(inline: Sequence[Inline], blobs: Holder, tenant_id: str) -> AbstractAsyncContextManager[None]:
    """Decode the bytes of a request and hold them while the block runs; their media refer to them by hash.

    Raises:
        InvalidArgument: MEDIA_INVALID; the error names the parameter whose value is not base64.
    """
    return _held(inline, blobs, tenant_id) if inline else nullcontext()


@asynccontextmanager
async def _held(inline: Iterable[Inline], blobs: Holder, tenant_id: str) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for each in inline:
            text, each.base64 = each.base64, ""
            try:
                data = await decoded_in_pieces(text) if len(text) > LONGEST_PIECE else decoded(text)
            except ValueError:
                _invalid("expected base64", each.param)
            if not data:
                _invalid("the data is empty", each.param)
            holding = blobs.hold(tenant_id, data, base64=text if _is_canonical(text, data) else "")
            # Who holds the text may let it go before the end of this block.
            del text, data
            each.media.hash = await stack.enter_async_context(holding)
            del holding
        yield


def _is_canonical(text: str, data: bytes) -> bool:
    """Whether a text that was decoded is what an encoder makes of the bytes: the bits of its end may differ."""
    last = binascii.b2a_base64(data[-(len(data) % 3 or 3) :], newline=False).decode("ascii")
    return len(text) == (len(data) + 2) // 3 * 4 and text.endswith(last)


def decoded(text: str) -> bytes:
    """The bytes of base64.

    Raises:
        ValueError: a character does not belong to base64, or the padding is wrong.
    """
    # Pydantic's decoder is four times as fast, and refuses unused bits that are set. It also takes the alphabet of
    # URLs, and text without its padding.
    if len(text) % 4 == 0 and "-" not in text and "_" not in text:
        try:
            return _decode(text)
        except ValidationError:
            # The other decoder has the last word.
            pass
    return binascii.a2b_base64(text, strict_mode=True)


async def decoded_in_pieces(text: str) -> bytes:
    """The bytes of a long base64. Others run between the pieces: a thread would hold them up, because it keeps the GIL.

    Raises:
        ValueError: a character does not belong to base64, or the padding is wrong.
    """
    pieces = []
    for at in range(0, len(text), LONGEST_PIECE):
        piece = text[at : at + LONGEST_PIECE]
        if "=" in piece and at + LONGEST_PIECE < len(text):
            raise ValueError("the padding is not at the end")
        pieces.append(decoded(piece))
        await asyncio.sleep(0)
    return b"".join(pieces)


def _invalid(why: str, param: str) -> NoReturn:
    refuse(f"Invalid '{param}': {why}.", param, reasons.MEDIA_INVALID)
