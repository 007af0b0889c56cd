"""What adapters need of the pictures, sounds and documents of a request."""

from collections.abc import Iterable
from typing import Protocol

from soma.model.v1.message_pb2 import Media, Message


class Contents(Protocol):
    """The media of one request, read and checked."""

    def url(self, media: Media) -> str | None:
        """The address that the vendor reads itself; None when the vendor gets the bytes."""
        ...

    def data_url(self, media: Media) -> str:
        """The bytes as a `data:` URL."""
        ...

    def base64(self, media: Media) -> str:
        """The bytes in base64."""
        ...

    def media_type(self, media: Media) -> str:
        """The media type of the bytes."""
        ...


class MediaReader(Protocol):
    """Reads media: bytes that the mesh keeps, and addresses that the vendor does not read itself."""

    async def contents(self, messages: Iterable[Message], reads_urls: bool, tenant_id: str) -> Contents:
        """The media of these messages; `reads_urls` says whether the vendor reads addresses itself.

        Raises:
            MeshError: a medium is invalid, too large, or cannot be read.
        """
        ...
