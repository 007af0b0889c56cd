"""The bytes that come with messages: they are held while they are needed, and their hash takes their place."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext

from soma.model.v1.message_pb2 import Media, Message

from services.mesh.blobs.blobs import Blobs
from services.messages.message import media_of


def held(blobs: Blobs, tenant_id: str, messages: Iterable[Message], *, kept: bool) -> AbstractAsyncContextManager[None]:
    """Hold the bytes of messages while the block runs. The messages are changed: they have hashes in place of bytes.

    Args:
        kept: whether the messages are remembered at the end. Then the bytes that a message names by their hash are held
            too, so that nobody deletes them meanwhile.

    Raises:
        NotFound: MEDIA_NOT_FOUND: the tenant has no bytes with the hash of a message.
        Unavailable: the store of bytes cannot be reached.
    """
    media = list(media_of(messages))
    return _held(blobs, tenant_id, media, kept) if media else nullcontext()


@asynccontextmanager
async def _held(blobs: Blobs, tenant_id: str, found: Iterable[Media], kept: bool) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for media in found:
            source = media.WhichOneof("source")
            if source == "data":
                media.hash = await stack.enter_async_context(blobs.hold(tenant_id, media.data))
            elif source == "hash" and kept:
                data = await blobs.read(tenant_id, media.hash)
                await stack.enter_async_context(blobs.hold(tenant_id, data, here=True))
        yield


def hashes_of(messages: Iterable[Message]) -> set[str]:
    """The hashes of the bytes that messages refer to."""
    return {media.hash for media in media_of(messages) if media.hash}
