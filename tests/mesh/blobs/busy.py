"""A process that keeps, releases and sweeps blobs until it is killed; `python -m tests.mesh.blobs.busy FOLDER URL`.

It writes who owns what into the table `owned`, in the transactions in which it keeps and releases.
"""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from services.mesh.blobs.blobs import Blobs
from services.mesh.blobs.directory import Directory
from services.mesh.blobs.store import Object, Store
from services.mesh.blobs.sweep import Sweep
from tests.databases import OwnedDatabase, open_database

TENANT = "acme"
NAME = "busy"
CONTENTS = [b"content %d" % n for n in range(6)]
OWNERS = [f"conversation:{n}" for n in range(8)]
WORKERS = 4
# Callers see to it that an owner does not keep and release at the same time.
LOCK = "SELECT pg_advisory_xact_lock(hashtext($1))"
PAUSE_SECONDS = 0.005


class _Slow:
    """A store with pauses before and after each change, so that a kill often comes between a change and its commit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        await _pause()
        await self._store.put(key, data, durable=durable)
        await _pause()

    async def get(self, key: str) -> bytes | None:
        return await self._store.get(key)

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            await _pause()
            await self._store.delete([key])
            await _pause()

    def list(self, folder: str) -> AsyncIterator[Object]:
        return self._store.list(folder)


async def _pause() -> None:
    await asyncio.sleep(random.random() * PAUSE_SECONDS)


async def _work(blobs: Blobs, pool: "OwnedDatabase") -> None:
    while True:
        owner = random.choice(OWNERS)
        if random.random() < 0.6:
            async with (
                blobs.hold(TENANT, random.choice(CONTENTS)) as hash,
                pool.tenants.transaction(TENANT) as connection,
            ):
                await connection.execute(LOCK, owner)
                await blobs.keep(connection, TENANT, owner, [hash])
                await connection.execute("INSERT INTO owned VALUES ($1, $2) ON CONFLICT DO NOTHING", owner, hash)
                await _pause()
        else:
            async with pool.tenants.transaction(TENANT) as connection:
                await connection.execute(LOCK, owner)
                await blobs.release(connection, TENANT, owner)
                await connection.execute("DELETE FROM owned WHERE owner = $1", owner)
                await _pause()


async def _sweep(sweep: Sweep) -> None:
    while True:
        await sweep.delete_released()
        await _pause()


async def main(folder: Path, url: str) -> None:
    """Work until killed."""
    stack = AsyncExitStack()
    pool = await open_database(url, stack, application_name=NAME)
    store = _Slow(Directory(folder))
    blobs = Blobs(store, pool.tenants)
    print("ready", flush=True)  # noqa: T201
    await asyncio.gather(*(_work(blobs, pool) for _ in range(WORKERS)), _sweep(Sweep(store, pool.system)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
