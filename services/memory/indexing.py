"""Gives passages their vectors in the background: those of new turns, and those of facts that were stored without."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby

import structlog

from services.memory.embedder import Embedder
from services.memory.store.passages import Pending, PendingPassages
from services.mesh.call import errors
from services.mesh.process.jobs import Job

log = structlog.get_logger("memory")

# Small enough that calls to the model service do not wait long behind a batch.
BATCH = 32
SWEEP_SECONDS = 5.0
LONGEST_PAUSE = 10.0


class Indexer:
    """Embeds one batch after the other; `wake` starts it at once."""

    def __init__(self, pending: PendingPassages, embedder: Embedder) -> None:
        self._pending = pending
        self._embedder = embedder
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look for passages now."""
        self._woken.set()

    @property
    def job(self) -> Job:
        """Indexes passages, and waits while Postgres or the model service is away; it may run in every process."""
        return Job("index", self.step, wake=self._woken, every=SWEEP_SECONDS, longest_pause=LONGEST_PAUSE)

    async def step(self) -> int:
        """Index the oldest passages; returns how many there were.

        Raises:
            MeshError: the model service or Postgres is away; the passages still wait.
        """
        claimed = sorted(await self._pending.claim(BATCH), key=lambda passage: passage.tenant_id)
        left = {passage.id for passage in claimed}
        try:
            for tenant_id, passages in groupby(claimed, key=lambda passage: passage.tenant_id):
                done = await self._index(tenant_id, list(passages))
                left.difference_update(done)
        finally:
            if left:
                with suppress(errors.Unavailable):  # in that case the claim expires
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
