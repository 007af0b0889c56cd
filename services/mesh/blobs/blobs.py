"""The bytes of pictures, sounds and documents, as services use them: by the SHA-256 of the bytes, once per tenant."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog
from soma.errors.v1 import reasons

from services.mesh.blobs import references
from services.mesh.blobs.held import Held
from services.mesh.blobs.store import Store, folder_of, kept_key, transient_key
from services.mesh.call import errors
from services.mesh.process import tasks

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, TenantPool

log = structlog.get_logger("blobs")

# Bytes of this size take a millisecond to hash; more of them are hashed in a thread.
_LARGE = 512 * 1024
# A transient object is written again after this time, because the sweep deletes those that are older than an hour.
REFRESH_SECONDS = 1200.0
# How often a reader looks again for an object that was deleted after it was listed.
_LOOKS = 3

# For a process whose settings say nothing else.
HELD_BYTES = 512 * 1024 * 1024


class Blobs:
    """Bytes by their hash.

    A process holds bytes in its memory for the time of a turn, and every service of the process can read them.

    Args:
        store: shared by the processes of the stack.
        pool: of a process that has Postgres. Without it `read` finds only bytes that are held.
        shared: whether services that read held bytes are in other processes, so that bytes are also written to the
            store while they are held.
        held_bytes: the most that the process holds at the same time.
    """

    def __init__(
        self, store: Store, pool: "TenantPool | None" = None, *, shared: bool = False, held_bytes: int = HELD_BYTES
    ) -> None:
        self._store = store
        self._pool = pool
        self._shared = shared
        self._held = Held(held_bytes)

    @asynccontextmanager
    async def hold(self, tenant_id: str, data: bytes, *, here: bool = False, base64: str = "") -> AsyncIterator[str]:
        """Hold bytes while the block runs; gives their SHA-256 in hexadecimal.

        Args:
            here: whether only this process reads them.
            base64: the text that the bytes came in, if it is exactly what an encoder makes of them, without line
                breaks. It is kept for one who asks (`take_base64`), if that can be somebody in this process.

        Raises:
            Unavailable: the process holds as much as it may (OVERLOADED); or other processes need the bytes, and the
                store cannot be written now.
        """
        hash = await _hashed(data)
        self._held.take(tenant_id, hash, data, "" if self._shared else base64)
        # It is let go before the block ends.
        del base64
        try:
            if here or not self._shared:
                yield hash
            else:
                async with self._written(tenant_id, hash, data):
                    yield hash
        finally:
            self._held.let_go(tenant_id, hash)

    async def read(self, tenant_id: str, hash: str) -> bytes:
        """The bytes that a process of the stack holds, or that an owner of this tenant needs.

        Raises:
            NotFound: MEDIA_NOT_FOUND, the tenant has no such bytes.
            Unavailable: the store or Postgres cannot be reached.
        """
        data = self._held.get(tenant_id, hash)
        if data is None and self._pool is not None:
            async with self._pool.connection(tenant_id) as connection:
                key = await references.find(connection, tenant_id, hash)
            data = await self._store.get(key) if key is not None else None
        if data is None:
            data = await self._read_transient(tenant_id, hash)
        if data is None:
            raise _not_found(hash)
        return data

    def take_base64(self, tenant_id: str, hash: str) -> str:
        """The base64 that held bytes came in; empty if this process does not have it, or no more.

        One asks for each who holds the bytes: the text is larger than they are, and is needed once, for the request to
        a provider.
        """
        return self._held.take_base64(tenant_id, hash)

    async def keep(self, connection: "Connection", tenant_id: str, owner: str, hashes: Iterable[str]) -> None:
        """Keep bytes for an owner, in the caller's transaction. They are stored before the caller can commit.

        The bytes are held now, or have an owner already. The caller prevents, for example by a lock on the owner's row,
        that the same owner keeps and releases at the same time.

        Args:
            owner: for example `conversation:<id>`. To keep the same bytes for it again changes nothing.

        Raises:
            NotFound: MEDIA_NOT_FOUND, the tenant has no such bytes; nothing was kept.
            Unavailable: the store cannot be written now, or it is full.
        """
        wanted = sorted(set(hashes))
        if not wanted:
            return
        known = await references.lock_known(connection, tenant_id, wanted)
        for hash in wanted:
            if known.get(hash):
                continue
            data = self._held.get(tenant_id, hash) or await self._read_transient(tenant_id, hash)
            if data is None:
                raise _not_found(hash)
            if hash not in known:
                await self._store_kept(connection, tenant_id, hash, data)
        await references.refer(connection, tenant_id, owner, wanted)

    async def release(self, connection: "Connection", tenant_id: str, owner: str) -> None:
        """Let go of everything that was kept for an owner, in the caller's transaction.

        Bytes without another owner are gone for readers as soon as the caller has committed. They are deleted from the
        store a little later.
        """
        await references.release(connection, tenant_id, owner)

    async def _store_kept(self, connection: "Connection", tenant_id: str, hash: str, data: bytes) -> None:
        key = kept_key(tenant_id, hash)
        await self._store.put(key, data)
        if not await references.add(connection, tenant_id, hash, len(data), key):
            await self._delete(key)

    @asynccontextmanager
    async def _written(self, tenant_id: str, hash: str, data: bytes) -> AsyncIterator[None]:
        """Bytes in the store for other processes, while the block runs."""
        key = transient_key(tenant_id, hash)
        try:
            await self._store.put(key, data, durable=False)
            refreshing = asyncio.create_task(self._refresh(key, data), name="refresh a blob")
            try:
                yield
            finally:
                await tasks.end(refreshing)
        finally:
            await self._delete(key)

    async def _refresh(self, key: str, data: bytes) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self._store.put(key, data, durable=False)
            except errors.MeshError as error:
                log.warning("blob not refreshed", reason=error.reason, error=error.message)

    async def _read_transient(self, tenant_id: str, hash: str) -> bytes | None:
        """Bytes that another process holds."""
        for _ in range(_LOOKS):
            found = [one.key async for one in self._store.list(folder_of(tenant_id, hash))]
            for key in found:
                if (data := await self._store.get(key)) is not None:
                    return data
            if not found:
                break
        return None

    async def _delete(self, key: str) -> None:
        """Delete an object that nobody needs; if the store is away, the sweep deletes it later."""
        try:
            await self._store.delete([key])
        except errors.MeshError as error:
            log.warning("blob left for the sweep", reason=error.reason, error=error.message)


async def _hashed(data: bytes) -> str:
    if len(data) < _LARGE:
        return hashlib.sha256(data).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()


def _not_found(hash: str) -> errors.NotFound:
    return errors.NotFound(
        f"there is no picture, sound or document with the hash {hash}",
        reason=reasons.MEDIA_NOT_FOUND,
        metadata={"hash": hash},
    )
