"""Passages of all tenants that wait for their vectors, in schema `memory`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.memory.embedder import Vector
from services.memory.passages import Passage

if TYPE_CHECKING:
    from services.mesh.stores.postgres import SystemPool

# A claim expires, so that another process takes the passages of one that was killed.
CLAIM = """
    UPDATE memory.passage SET claimed_until = now() + make_interval(secs => $2)
    WHERE id IN (
        SELECT id FROM memory.passage
        WHERE embedding IS NULL AND (claimed_until IS NULL OR claimed_until < now())
        ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
    ) RETURNING id, tenant_id, heading, text
"""
# A locked passage is being deleted. To wait for it while holding others could cause a deadlock with the deletion.
RELEASE = """
    UPDATE memory.passage SET claimed_until = NULL WHERE id IN (
        SELECT id FROM memory.passage WHERE id = ANY($1) AND embedding IS NULL FOR UPDATE SKIP LOCKED
    )
"""
REFUSE = "UPDATE memory.passage SET claimed_until = 'infinity' WHERE id = $1"
# Facts are locked first and in order, because to store a fact also locks the fact before its passages.
LOCK_FACTS = """
    SELECT tenant_id, id FROM memory.fact
    WHERE (tenant_id, id) IN (SELECT tenant_id, fact_id FROM memory.passage WHERE id = ANY($1))
    ORDER BY id FOR NO KEY UPDATE
"""
FILL = "UPDATE memory.passage SET embedding = $2::real[]::vector, claimed_until = NULL WHERE id = $1"
MARK = """
    UPDATE memory.fact SET indexed_at = now()
    WHERE (tenant_id, id) IN (SELECT * FROM unnest($1::text[], $2::uuid[])) AND indexed_at IS NULL AND NOT EXISTS (
        SELECT FROM memory.passage
        WHERE passage.tenant_id = fact.tenant_id AND fact_id = fact.id AND embedding IS NULL
    )
"""

CLAIM_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Pending:
    """A passage without a vector."""

    id: int
    tenant_id: str
    passage: Passage


class PendingPassages:
    """Hands out passages that wait for their vectors."""

    def __init__(self, pool: "SystemPool") -> None:
        self._pool = pool

    async def claim(self, limit: int) -> list[Pending]:
        """Claim the oldest passages for this process, for half a minute."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(CLAIM, limit, CLAIM_SECONDS)
        return [Pending(row["id"], row["tenant_id"], Passage(row["heading"], row["text"])) for row in rows]

    async def release(self, ids: Sequence[int]) -> None:
        """Give passages back."""
        async with self._pool.connection() as connection:
            await connection.execute(RELEASE, ids)

    async def refuse(self, id: int) -> None:
        """Leave a passage without a vector for good; a search by words still finds it."""
        async with self._pool.connection() as connection:
            await connection.execute(REFUSE, id)

    async def fill(self, vectors: Sequence[tuple[int, Vector]]) -> None:
        """Give passages their vectors."""
        ids = [id for id, _ in vectors]
        async with self._pool.transaction() as connection:
            facts = await connection.fetch(LOCK_FACTS, ids)
            await connection.executemany(FILL, sorted(vectors))
            if facts:
                await connection.execute(MARK, *([row[name] for row in facts] for name in ("tenant_id", "id")))
