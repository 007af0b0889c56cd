"""Gives passages their vectors in the background: turns as they come, facts that were stored while there were none."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby

import structlog

from services.memory.embedder import Embedder
from services.memory.store.passages import Pending, PendingPassages
from services.mesh import errors

log = structlog.get_logger("memory")

# Small enough to leave the model service to those who wait for it.
BATCH = 32
SWEEP_SECONDS = 5.0
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0


class Indexer:
    """Embeds one batch after the other; `wake` says that there may be work."""

    def __init__(self, pending: PendingPassages, embedder: Embedder) -> None:
        self._pending = pending
        self._embedder = embedder
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    async def run(self) -> None:
        """Index until cancelled, waiting out absences of Postgres and of the model service."""
        pause = FIRST_PAUSE
        while True:
            self._wake.clear()
            try:
                while await self.step():
                    pause = FIRST_PAUSE
            except errors.MeshError as error:
                log.info("indexing waits", reason=error.reason, pause_seconds=pause)
            except Exception:
                # Ended, it would leave everything to come without vectors.
                log.exception("indexing failed", pause_seconds=pause)
            else:
                # Not wait_for: in Python 3.11 it can swallow a cancellation that comes together with the event.
                with suppress(TimeoutError):
                    async with asyncio.timeout(SWEEP_SECONDS):
                        await self._wake.wait()
                continue
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def step(self) -> int:
        """Index the oldest passages; how many there were.

        Raises:
            MeshError: the model service or Postgres is away; the passages wait on.
        """
        claimed = sorted(await self._pending.claim(BATCH), key=lambda passage: passage.tenant_id)
        left = {passage.id for passage in claimed}
        try:
            for tenant_id, passages in groupby(claimed, key=lambda passage: passage.tenant_id):
                done = await self._index(tenant_id, list(passages))
                left.difference_update(done)
        finally:
            if left:
                with suppress(errors.Unavailable):  # then the claim lapses
                    await self._pending.release(sorted(left))
        return len(claimed)

    async def _index(self, tenant_id: str, passages: list[Pending]) -> Iterable[int]:
        try:
            vectors = await self._embedder.embed(tenant_id, [pending.passage.whole for pending in passages])
        except errors.MeshError as error:
            if error.code is not errors.Code.INVALID_ARGUMENT:
                raise
            if len(passages) == 1:
                log.error("a passage cannot be embedded", passage=passages[0].id, error=error.message)
                await self._pending.refuse(passages[0].id)
                return [passages[0].id]
            return [done for passage in passages for done in await self._index(tenant_id, [passage])]
        ids = [pending.id for pending in passages]
        await self._pending.fill(list(zip(ids, vectors, strict=True)))
        return ids
