"""Reads the pictures, sounds and documents of a request, from the mesh and from the web, and checks them."""

import asyncio
import binascii
import mimetypes
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urlsplit

from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import Media, Message

from services.mesh.call.errors import InvalidArgument
from services.mesh.process import tasks
from services.model.adapters.http1.network import DIRECT, Network
from services.model.media import picture
from services.model.media.address import Address, Unreachable
from services.model.media.contents import WORDS, Content, Contents, Key, Kind, invalid, key_of, media_in, too_large
from services.model.media.fetcher import Allowance, Fetcher, Resolve, TooLarge
from services.model.media.media_type import Wrong, checked, normal
from services.model.media.settings import MediaSettings

# How many contents of one request are read at a time.
_AT_A_TIME = 4
# Bytes that become base64 within a millisecond. It is a multiple of three, so that the pieces can be joined.
_PIECE = 768 * 1024
_PDF = "application/pdf"


class Blobs(Protocol):
    """Where the mesh keeps bytes, by tenant and hash."""

    async def read(self, tenant_id: str, hash: str) -> bytes:
        """The bytes.

        Raises:
            NotFound: MEDIA_NOT_FOUND, the tenant has no such bytes.
        """
        ...

    def take_base64(self, tenant_id: str, hash: str) -> str:
        """The base64 that the bytes came in; empty if it is not here, or was taken already."""
        ...


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One content of a request.

    Attributes:
        said: the content in a message, such as `picture 2`.
        uses: how often the request has it.
    """

    kind: Kind
    media: Media
    said: str
    uses: int


class MediaReader:
    """Gets the contents of requests for providers. One for a process.

    Args:
        network: the proxies and certificate authorities for addresses on the web.
        resolve: finds the IP addresses of a host; None for the resolver of the system.
    """

    def __init__(
        self, blobs: Blobs, settings: MediaSettings, network: Network = DIRECT, resolve: Resolve | None = None
    ) -> None:
        self._blobs = blobs
        self._settings = settings
        self._fetcher = Fetcher(settings, network, resolve)

    async def contents(self, messages: Iterable[Message], *, reads_urls: Collection[Kind], tenant_id: str) -> Contents:
        """The contents of all media of the messages, ready to be sent; see `read`."""
        return await self.read(list(media_in(messages)), reads_urls=reads_urls, tenant_id=tenant_id)

    async def read(
        self, given: Sequence[tuple[Kind, Media]], *, reads_urls: Collection[Kind], tenant_id: str
    ) -> Contents:
        """The contents of these media, ready to be sent.

        Args:
            reads_urls: the kinds of media whose URLs the provider reads itself (`Chat.reads_urls` of its vendor). All
                other URLs are read here, and so are documents that are not PDFs, because no provider reads those.

        Raises:
            InvalidArgument: MEDIA_INVALID, MEDIA_TOO_LARGE or MEDIA_UNREACHABLE.
            NotFound: MEDIA_NOT_FOUND, the mesh does not have the bytes of a hash.
            Unavailable: the store of the mesh cannot be reached.
        """
        if not given:
            return Contents({})
        wanted = self._wanted(given, reads_urls)
        allowance = Allowance(self._settings.limit_bytes)
        turn = asyncio.Semaphore(_AT_A_TIME)
        fetches: dict[str, list[_Wanted]] = {}
        reading: list[asyncio.Task[dict[Key, Content]]] = []
        for each in wanted:
            if each.media.WhichOneof("source") == "url":
                fetches.setdefault(each.media.url, []).append(each)
        if len(fetches) > self._settings.most_fetches:
            raise too_large(
                f"the request has {len(fetches)} addresses of pictures, sounds or documents that have to be read; "
                f"at most {self._settings.most_fetches} are: send their bytes"
            )
        try:
            for each in wanted:
                if each.media.WhichOneof("source") != "url":
                    reading.append(asyncio.create_task(self._held(each, tenant_id, allowance, turn)))
            for url, group in fetches.items():
                reading.append(asyncio.create_task(self._fetched(url, group, allowance, turn)))
            found: dict[Key, Content] = {}
            for contents in await asyncio.gather(*reading):
                found |= contents
        except TooLarge:
            limit = self._settings.limit_bytes
            raise too_large(
                f"the pictures, sounds and documents of the request are larger than {limit} bytes together"
            ) from None
        finally:
            if reading:
                await tasks.end(*reading)
        return Contents(found)

    def _wanted(self, given: Sequence[tuple[Kind, Media]], reads_urls: Collection[Kind]) -> list[_Wanted]:
        """The contents whose bytes are needed, each once.

        Raises:
            InvalidArgument: MEDIA_UNREACHABLE, a URL may not be read; those that the provider reads included.
        """
        uses = Counter((kind, key_of(media)) for kind, media in given)
        totals = Counter(kind for kind, _ in given)
        seen: Counter[Kind] = Counter()
        wanted: dict[tuple[Kind, Key], _Wanted] = {}
        for kind, media in given:
            seen[kind] += 1
            source, key = media.WhichOneof("source"), (kind, key_of(media))
            each = _Wanted(kind, media, _said(kind, media, seen[kind], totals[kind]), uses[key])
            if source == "url":
                self._check_address(each)
                if kind in reads_urls and _is_read_by_providers(kind, media):
                    continue
            if source != "file_id":
                wanted.setdefault(key, each)
        return list(wanted.values())

    def _check_address(self, wanted: _Wanted) -> None:
        try:
            self._fetcher.address(wanted.media.url)
        except Unreachable as error:
            raise _unreachable(wanted, error) from error

    async def _held(
        self, wanted: _Wanted, tenant_id: str, allowance: Allowance, turn: asyncio.Semaphore
    ) -> dict[Key, Content]:
        """Bytes of the request or of the mesh."""
        media = wanted.media
        async with turn:
            is_here = media.WhichOneof("source") == "data"
            data = media.data if is_here else await self._blobs.read(tenant_id, media.hash)
            allowance.take(len(data) * wanted.uses)
            base64 = "" if is_here else self._blobs.take_base64(tenant_id, media.hash)
            return {key_of(media): await _content(wanted, data, media.name, base64=base64)}

    async def _fetched(
        self, url: str, group: Sequence[_Wanted], allowance: Allowance, turn: asyncio.Semaphore
    ) -> dict[Key, Content]:
        """Bytes of an address. The request may have it several times, with different declared types."""
        first = group[0]
        async with turn:
            try:
                fetched = await self._fetcher.fetch(url, first.kind, allowance, sum(each.uses for each in group))
            except Unreachable as error:
                raise _unreachable(first, error) from error
            except Wrong as error:
                raise _invalid(first, error) from error
            found: dict[Key, Content] = {}
            for each in group:
                name = each.media.name or _last_step(url)
                found[key_of(each.media)] = await _content(each, fetched.data, name, fetched.served)
            return found


async def _content(wanted: _Wanted, data: bytes, name: str, served: str = "", base64: str = "") -> Content:
    """Check bytes, and make their base64 if that would block the loop later, and nobody has it.

    Raises:
        InvalidArgument: MEDIA_INVALID.
    """
    try:
        media_type = checked(wanted.kind, wanted.media.media_type, data, name=name, served=served)
        picture.check(media_type, data)
    except Wrong as error:
        raise _invalid(wanted, error) from error
    if not base64 and len(data) > _PIECE:
        base64 = await _base64(data)
    return Content(data, media_type, base64)


async def _base64(data: bytes) -> str:
    """Bytes in base64. Others run between the pieces: a thread would hold them up too, because it keeps the GIL."""
    view = memoryview(data)
    pieces = []
    for at in range(0, len(data), _PIECE):
        pieces.append(binascii.b2a_base64(view[at : at + _PIECE], newline=False).decode("ascii"))
        await asyncio.sleep(0)
    return "".join(pieces)


def _is_read_by_providers(kind: Kind, media: Media) -> bool:
    """Whether providers that read URLs of a kind read this one: of documents they read only PDFs."""
    if kind != "file":
        return True
    declared = normal(media.media_type)
    return (declared or mimetypes.guess_type(media.name or _last_step(media.url))[0] or _PDF) == _PDF


def _last_step(url: str) -> str:
    """The last step of a URL's path, which may be the name of a file."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def _said(kind: Kind, media: Media, place: int, total: int) -> str:
    said = f"{WORDS[kind]} {place}" if total > 1 else f"the {WORDS[kind]}"
    return f"{said} (`{media.name}`)" if media.name else said


def _invalid(wanted: _Wanted, why: Wrong) -> InvalidArgument:
    return invalid(f"{wanted.said} {why}", wanted.media)


def _unreachable(wanted: _Wanted, why: Unreachable) -> InvalidArgument:
    try:
        shown = Address.of(wanted.media.url).shown
    except Unreachable:
        # The URL may hold a password.
        return InvalidArgument(f"{wanted.said} cannot be read: {why}", reason=reasons.MEDIA_UNREACHABLE)
    said = f"{wanted.said} at {shown} cannot be read: {why}"
    return InvalidArgument(said, reason=reasons.MEDIA_UNREACHABLE, metadata={"url": shown})
