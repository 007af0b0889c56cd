"""Pictures, sounds and documents."""

import base64
import binascii
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from soma.model.v1 import message_pb2 as model

_ADDRESS = re.compile("https?://", re.IGNORECASE)
_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)[^,]*;base64,(?P<data>.*)", re.DOTALL | re.IGNORECASE)
# How bytes of the usual types begin; RIFF is followed by a length and the kind.
_BEGINNINGS = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"ID3|\xff[\xfb\xf3\xf2]"), "audio/mpeg"),
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb"OggS"), "audio/ogg"),
    (re.compile(rb"%PDF-"), "application/pdf"),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes that the mesh keeps, by their SHA-256 in hexadecimal."""

    hash: str


@dataclass(frozen=True, slots=True)
class ProviderFile:
    """A file that the provider has, by its id."""

    id: str


Source: TypeAlias = str | bytes | Path | Kept | ProviderFile


@dataclass(frozen=True, slots=True)
class _Media:
    source: Source
    media_type: str = field(default="", kw_only=True)
    name: str = field(default="", kw_only=True)
    provider_params: Mapping[str, Any] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True, slots=True)
class Image(_Media):
    """A picture.

    Attributes:
        source: an address (`https://…`, `data:…`), bytes, or the `Path` of a file, which is read when the message is
            sent. In remembered messages it is `Kept`.
        media_type: such as `image/png`. When empty, bytes tell their type, or the name of the file does.
        name: name of the file; may be empty.
        provider_params: members that the contract has no field for, such as `cache_control`; sent as they are.
        detail: how closely the model looks: `low`, `high`, `auto`, or another word of the provider.
    """

    detail: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class Audio(_Media):
    """A sound; the attributes are those of `Image`."""


@dataclass(frozen=True, slots=True)
class File(_Media):
    """A document; the attributes are those of `Image`."""


def to_media(part: Image | Audio | File) -> model.Media:
    """The media of the contract; a file is read.

    Raises:
        OSError: a file cannot be read.
        TypeError: the source is of another type.
        ValueError: an address is not one, or the type of bytes is not known.
    """
    media = model.Media(
        media_type=part.media_type, name=part.name, detail=part.detail if isinstance(part, Image) else ""
    )
    match part.source:
        case str():
            _set_address(media, part.source)
        case bytes():
            media.data = part.source
        case Path():
            media.data = part.source.read_bytes()
            media.name = media.name or part.source.name
        case Kept():
            media.hash = part.source.hash
        case ProviderFile():
            media.file_id = part.source.id
        case _:
            raise TypeError(f"a source is an address, bytes, a Path, Kept or ProviderFile, not {part.source!r:.80}")
    if media.data and not media.media_type:
        media.media_type = _type_of(media.data, media.name)
    return media


def _set_address(media: model.Media, address: str) -> None:
    if _ADDRESS.match(address):
        media.url = address
    elif data := _DATA_URL.fullmatch(address):
        try:
            media.data = base64.b64decode(data["data"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"the data of {address[:40]!r}… is not base64: {error}") from None
        media.media_type = media.media_type or data["type"].lower()
    else:
        raise ValueError(f"{address[:80]!r} is no address: give https://…, a data URL, bytes, or the Path of a file")


def _type_of(data: bytes, name: str) -> str:
    """The type of bytes, by how they begin, else by the name of their file."""
    for beginning, media_type in _BEGINNINGS:
        if beginning.match(data):
            return media_type
    guessed = mimetypes.guess_type(name)[0]
    if guessed is None:
        raise ValueError(f"the type of {name or 'these bytes'} is not known: give media_type")
    return guessed


def media_fields(media: model.Media) -> dict[str, Any]:
    """The fields that an `Image`, an `Audio` and a `File` have for a media of the contract."""
    match media.WhichOneof("source"):
        case "data":
            source: Source = media.data
        case "hash":
            source = Kept(media.hash)
        case "file_id":
            source = ProviderFile(media.file_id)
        case _:
            source = media.url
    return {"source": source, "media_type": media.media_type, "name": media.name}
