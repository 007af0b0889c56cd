"""Reads the pictures, sounds and documents of a request, from the mesh and from the web, and checks them."""

from collections.abc import Collection, Iterable
from typing import Protocol

from soma.model.v1.message_pb2 import Message

from services.model.adapters.http1.network import DIRECT, Network
from services.model.media.contents import Content, Contents, Key, Kind, key_of, media_in
from services.model.media.settings import MediaSettings


class Blobs(Protocol):
    """Where the mesh keeps bytes, by tenant and hash."""

    async def read(self, tenant_id: str, hash: str) -> bytes:
        """The bytes.

        Raises:
            NotFound: MEDIA_NOT_FOUND, the tenant has no such bytes.
        """
        ...


class MediaReader:
    """Gets the contents of requests for providers. One for a process.

    Args:
        network: the proxies and certificate authorities for addresses on the web.
    """

    def __init__(self, blobs: Blobs, settings: MediaSettings, network: Network = DIRECT) -> None:
        self._blobs = blobs
        self._settings = settings
        self._network = network

    async def contents(self, messages: Iterable[Message], *, reads_urls: Collection[Kind], tenant_id: str) -> Contents:
        """The contents of all media of the messages, ready to be sent.

        Args:
            reads_urls: the kinds of media whose URLs the provider reads itself (`Chat.reads_urls` of its vendor). All
                other URLs are read here.

        Raises:
            InvalidArgument: MEDIA_INVALID, MEDIA_TOO_LARGE or MEDIA_UNREACHABLE.
            NotFound: MEDIA_NOT_FOUND, the mesh does not have the bytes of a hash.
            Unavailable: the store of the mesh cannot be reached.
        """
        found: dict[Key, Content] = {}
        for _, media in media_in(messages):
            match media.WhichOneof("source"):
                case "data":
                    found[key_of(media)] = Content(media.data, media.media_type)
                case "hash":
                    data = await self._blobs.read(tenant_id, media.hash)
                    found[key_of(media)] = Content(data, media.media_type)
        return Contents(found)
