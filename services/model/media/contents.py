"""The pictures, sounds and documents of one request, in the forms that providers take them in."""

import binascii
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import Media, Message

from services.mesh.call.errors import InvalidArgument

Kind: TypeAlias = Literal["image", "audio", "file"]
# What identifies a content: where it is, and the media type that the caller declared.
Key: TypeAlias = tuple[str, str | bytes, str]

WORDS: dict[Kind, str] = {"image": "picture", "audio": "sound", "file": "document"}


def media_in(messages: Iterable[Message]) -> Iterator[tuple[Kind, Media]]:
    """The pictures, sounds and documents of messages, in their order."""
    for message in messages:
        for part in message.parts:
            match part.WhichOneof("part"):
                case "image":
                    yield "image", part.image
                case "audio":
                    yield "audio", part.audio
                case "file":
                    yield "file", part.file


def key_of(media: Media) -> Key:
    """What identifies the content of a media."""
    source = media.WhichOneof("source")
    return source or "", getattr(media, source) if source else "", media.media_type


class Content:
    """Checked bytes and their media type."""

    __slots__ = ("_base64", "data", "media_type")

    def __init__(self, data: bytes, media_type: str, base64: str = "") -> None:
        self.data = data
        self.media_type = media_type
        self._base64 = base64

    @property
    def base64(self) -> str:
        """The bytes in base64; made once."""
        if not self._base64:
            self._base64 = binascii.b2a_base64(self.data, newline=False).decode("ascii")
        return self._base64


class Contents:
    """Gives an adapter what it sends for a media of the request. Made by `MediaReader.contents`.

    Every method takes a Media that the reader was given. A file that only the provider has
    (`file_id`) has neither bytes nor an address; the methods that need bytes refuse it.
    """

    def __init__(self, found: dict[Key, Content]) -> None:
        self._found = found

    def url(self, media: Media) -> str | None:
        """The address, if the provider reads it itself; None if the adapter has to send the bytes."""
        return media.url if media.WhichOneof("source") == "url" and key_of(media) not in self._found else None

    def media_type(self, media: Media) -> str:
        """The media type that the bytes have, such as `image/png`.

        What the mesh has not read has the type that the caller declared, which may be empty.
        """
        content = self._found.get(key_of(media))
        return content.media_type if content is not None else media.media_type

    def data(self, media: Media) -> bytes:
        """The bytes.

        Raises:
            InvalidArgument: MEDIA_INVALID, it is a file that only the provider has.
        """
        return self._content(media).data

    def content(self, media: Media) -> Content:
        """The bytes with their media type.

        Raises:
            InvalidArgument: see `data`.
        """
        return self._content(media)

    def base64(self, media: Media) -> str:
        """The bytes in base64, without line breaks.

        Raises:
            InvalidArgument: see `data`.
        """
        return self._content(media).base64

    def data_url(self, media: Media) -> str:
        """The bytes as a `data:` URL with their media type.

        Raises:
            InvalidArgument: see `data`.
        """
        content = self._content(media)
        return f"data:{content.media_type};base64,{content.base64}"

    def text(self, media: Media) -> str:
        """The text of a document that is text: UTF-8, or UTF-16 with a byte order mark.

        Raises:
            InvalidArgument: MEDIA_INVALID, it is no such text; and see `data`.
        """
        data = self._content(media).data
        try:
            return data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
        except UnicodeDecodeError as error:
            raise invalid(f"the document{_named(media)} is not text in UTF-8", media) from error

    def _content(self, media: Media) -> Content:
        content = self._found.get(key_of(media))
        if content is not None:
            return content
        if media.WhichOneof("source") != "file_id":
            raise LookupError("the media is not of the messages that were read, or the provider reads it by its URL")
        said = (
            f"the file{_named(media)} has an id of a provider's file, which this provider does not take: send its bytes"
        )
        raise invalid(said, media)


def invalid(said: str, media: Media) -> InvalidArgument:
    """The error for a content that is not what it should be."""
    return InvalidArgument(said, reason=reasons.MEDIA_INVALID, metadata=_facts(media))


def too_large(said: str) -> InvalidArgument:
    """The error for contents that are larger than a limit."""
    return InvalidArgument(said, reason=reasons.MEDIA_TOO_LARGE)


def _named(media: Media) -> str:
    return f" `{media.name}`" if media.name else ""


def _facts(media: Media) -> dict[str, str]:
    """Facts for programs; not a URL, because its query may hold a credential."""
    facts = {"name": media.name, "hash": media.hash, "media_type": media.media_type}
    return {name: value for name, value in facts.items() if value}
