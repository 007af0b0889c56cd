"""Facts in schema `memory`."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg
from google.protobuf.struct_pb2 import Struct, Value
from soma.memory.v1 import memory_service_pb2 as pb

from services.memory.embedder import Vector, score
from services.memory.passages import Json, Passage
from services.memory.question import Found, Question
from services.mesh.call.timestamp import timestamp

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Database

# An expired fact counts as deleted, even before the sweep: a fact that replaces it starts anew.
PUT = """
    INSERT INTO memory.fact AS fact (tenant_id, key, value, metadata, facets, expires_at, indexed_at)
    VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6), CASE WHEN $7 THEN now() END)
    ON CONFLICT (tenant_id, key) DO UPDATE SET
        value = excluded.value, metadata = excluded.metadata, facets = excluded.facets,
        expires_at = excluded.expires_at, indexed_at = excluded.indexed_at,
        created_at = CASE WHEN fact.expires_at <= now() THEN excluded.created_at ELSE fact.created_at END,
        accessed_count = CASE WHEN fact.expires_at <= now() THEN 0 ELSE fact.accessed_count END,
        last_accessed = CASE WHEN fact.expires_at <= now() THEN NULL ELSE fact.last_accessed END
    RETURNING id, indexed_at
"""
DROP_PASSAGES = "DELETE FROM memory.passage WHERE tenant_id = $1 AND fact_id = $2"
PUT_PASSAGE = """
    INSERT INTO memory.passage (tenant_id, fact_id, heading, text, embedding)
    VALUES ($1, $2, $3, $4, $5::real[]::vector)
"""
RECALL = """
    WITH before AS (
        SELECT tenant_id, id, last_accessed FROM memory.fact
        WHERE tenant_id = $1 AND key = $2 AND (expires_at IS NULL OR expires_at > now()) FOR UPDATE
    )
    UPDATE memory.fact SET accessed_count = accessed_count + $3, last_accessed = clock_timestamp()
    FROM before WHERE fact.tenant_id = before.tenant_id AND fact.id = before.id
    RETURNING value, metadata, created_at, accessed_count, fact.last_accessed, before.last_accessed AS accessed_before
"""
# This also deletes an expired fact that was not swept yet, which counts as deleted already. Its passages go with it.
FORGET = """
    DELETE FROM memory.fact WHERE tenant_id = $1 AND key = $2
    RETURNING expires_at IS NULL OR expires_at > now() AS kept
"""
# Keys have at most 512 characters, so no key with the prefix comes after the prefix and 512 times the last character.
PAGE = """
    SELECT * FROM (
        SELECT page.*, row_number() OVER by_key AS place, count(*) OVER () AS found,
            sum(octet_length(value) + coalesce(octet_length(metadata), 0)) OVER by_key AS bytes
        FROM (
            SELECT key, value, metadata, created_at, accessed_count, last_accessed, expires_at, indexed_at
            FROM memory.fact
            WHERE tenant_id = $1 AND key COLLATE "C" > $2
                AND key COLLATE "C" BETWEEN $3 AND $3 || repeat(chr(1114111), 512)
                AND (expires_at IS NULL OR expires_at > now()) AND facets @> $4
            ORDER BY key COLLATE "C" LIMIT $5 + 1
        ) AS page WINDOW by_key AS (ORDER BY key COLLATE "C")
    ) AS page WHERE place = 1 OR (place <= $5 AND bytes <= $6) ORDER BY place
"""
READ = """
    SELECT key, value, metadata FROM memory.fact
    WHERE tenant_id = $1 AND key = ANY($2) AND (expires_at IS NULL OR expires_at > now())
"""
EXIST = "SELECT EXISTS (SELECT FROM memory.passage WHERE tenant_id = $1 AND fact_id IS NOT NULL)"
# Without this, the index gives its nearest 40 passages of all tenants, and a filter may leave none of them.
SCAN_ON = "SELECT set_config('hnsw.iterative_scan', 'strict_order', true)"
# `OFFSET 0` keeps the planner from joining the other way round: it believes that hardly any fact passes a filter.
BY_MEANING = """
    SELECT fact.key, heading, text, 1 - (embedding <=> $2::real[]::vector) AS cosine
    FROM memory.passage, LATERAL (
        SELECT key FROM memory.fact
        WHERE tenant_id = $1 AND id = fact_id AND (expires_at IS NULL OR expires_at > now()) AND facets @> $3 OFFSET 0
    ) AS fact
    WHERE tenant_id = $1 AND fact_id IS NOT NULL AND embedding IS NOT NULL
    ORDER BY embedding <=> $2::real[]::vector LIMIT $4
"""
BY_WORDS = """
    WITH asked AS (
        SELECT tsvector_to_array(to_tsvector('english', $2)) AS terms,
            replace(plainto_tsquery('english', $2)::text, ' & ', ' | ')::tsquery AS query
    ), best AS (
        SELECT DISTINCT ON (fact.key) fact.key, passage.heading, passage.text,
            cardinality(ARRAY(SELECT unnest(asked.terms) INTERSECT SELECT unnest(tsvector_to_array(passage.terms))))
                / cardinality(asked.terms)::float8 AS share,
            ts_rank_cd(passage.terms, asked.query, 1) AS rank
        FROM asked, memory.passage, LATERAL (
            SELECT key FROM memory.fact
            WHERE tenant_id = $1 AND id = fact_id AND (expires_at IS NULL OR expires_at > now()) AND facets @> $3
            OFFSET 0
        ) AS fact
        WHERE passage.tenant_id = $1 AND passage.terms @@ asked.query
        ORDER BY fact.key, share DESC, rank DESC
    )
    SELECT * FROM best ORDER BY share DESC, rank DESC, key LIMIT $4
"""
SWEEP = """
    WITH expired AS (
        SELECT tenant_id, id FROM memory.fact WHERE expires_at <= now()
        ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
    DELETE FROM memory.fact USING expired WHERE fact.tenant_id = expired.tenant_id AND fact.id = expired.id
"""

# Several of the nearest passages may belong to one fact: this many are asked for per fact at first, and in all at most.
_PASSAGES_A_FACT = 4
_MOST_PASSAGES = 2048


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored fact: its id, and when it could first be found by meaning; None if it cannot yet."""

    fact_id: uuid.UUID
    indexed_at: datetime | None


class FactStore:
    """Keeps facts in the schema `memory`."""

    def __init__(self, database: "Database") -> None:
        self._tenants = database.tenants
        self._system = database.system

    async def put(
        self,
        tenant_id: str,
        fact: pb.RememberRequest,
        facets: Json,
        passages: Sequence[Passage],
        vectors: Sequence[Vector] | None,
    ) -> Stored:
        """Store or replace a fact; without vectors its passages wait for theirs."""
        value = fact.value.SerializeToString()
        metadata = fact.metadata.SerializeToString() if fact.HasField("metadata") else None
        ttl = fact.ttl_seconds if fact.HasField("ttl_seconds") else None
        indexed: Sequence[Vector | None] = [None] * len(passages) if vectors is None else vectors
        async with self._tenants.transaction(tenant_id) as connection:
            row = await connection.fetchrow(PUT, tenant_id, fact.key, value, metadata, facets, ttl, vectors is not None)
            assert row is not None
            await connection.execute(DROP_PASSAGES, tenant_id, row["id"])
            await connection.executemany(
                PUT_PASSAGE,
                [
                    (tenant_id, row["id"], passage.heading, passage.text, vector)
                    for passage, vector in zip(passages, indexed, strict=True)
                ],
            )
        return Stored(row["id"], row["indexed_at"])

    async def recall(self, tenant_id: str, key: str, times: int = 1) -> list[pb.RecallResponse]:
        """Read a fact for `times` callers, one after the other, and count that; empty if there is none."""
        async with self._tenants.connection(tenant_id) as connection:
            row = await connection.fetchrow(RECALL, tenant_id, key, times)
        if row is None:
            return []
        first = pb.RecallResponse(
            key=key,
            value=Value.FromString(row["value"]),
            created_at=timestamp(row["created_at"]),
            accessed_count=row["accessed_count"] - times + 1,
            last_accessed=timestamp(row["accessed_before"]),
        )
        if row["metadata"] is not None:
            first.metadata.ParseFromString(row["metadata"])
            first.metadata.SetInParent()
        responses = [first]
        for count in range(first.accessed_count + 1, row["accessed_count"] + 1):
            response = pb.RecallResponse()
            response.CopyFrom(first)
            response.accessed_count = count
            response.last_accessed.FromDatetime(row["last_accessed"])
            responses.append(response)
        return responses

    async def forget(self, tenant_id: str, key: str) -> bool:
        """Delete a fact with its passages; returns whether there was one."""
        async with self._tenants.connection(tenant_id) as connection:
            return bool(await connection.fetchval(FORGET, tenant_id, key))

    async def page(
        self, tenant_id: str, after: str, prefix: str, facets: Json, limit: int, max_bytes: int
    ) -> tuple[list[pb.Memory], bool]:
        """Facts whose keys begin with `prefix` and come after `after`, in the order of their keys' bytes.

        At least one if there is one, at most `limit`, and with at most `max_bytes` of values and metadata. Also returns
        whether there are more.
        """
        async with self._tenants.connection(tenant_id) as connection:
            rows = await connection.fetch(PAGE, tenant_id, after, prefix, facets, limit, max_bytes)
        return [_memory(row) for row in rows], bool(rows) and rows[0]["found"] > len(rows)

    async def read(self, tenant_id: str, keys: Sequence[str]) -> dict[str, tuple[Value, Struct]]:
        """Values and metadata by key, without counting an access; keys without a fact are missing."""
        async with self._tenants.connection(tenant_id) as connection:
            rows = await connection.fetch(READ, tenant_id, keys)
        return {row["key"]: (Value.FromString(row["value"]), Struct.FromString(row["metadata"] or b"")) for row in rows}

    async def any(self, tenant_id: str) -> bool:
        """Whether a tenant has facts to search."""
        async with self._tenants.connection(tenant_id) as connection:
            return bool(await connection.fetchval(EXIST, tenant_id))

    async def find(self, tenant_id: str, question: Question, facets: Json, limit: int) -> list[Found]:
        """The facts whose metadata contain `facets`, with the passages that fit best, best first."""
        if question.vector is None:
            async with self._tenants.connection(tenant_id) as connection:
                rows = await connection.fetch(BY_WORDS, tenant_id, question.text.replace("\0", " "), facets, limit)
            return [Found(row["key"], _passage(row), row["share"]) for row in rows]
        count = limit * _PASSAGES_A_FACT
        while True:
            rows = await self._nearest(tenant_id, question.vector, facets, count)
            best: dict[str, Found] = {}
            for row in rows:
                best.setdefault(row["key"], Found(row["key"], _passage(row), score(row["cosine"])))
            if len(best) >= limit or len(rows) < count or count >= _MOST_PASSAGES:
                return list(best.values())[:limit]
            count *= 4

    async def _nearest(self, tenant_id: str, vector: Vector, facets: Json, count: int) -> list[asyncpg.Record]:
        async with self._tenants.transaction(tenant_id) as connection:
            await connection.execute(SCAN_ON)
            return await connection.fetch(BY_MEANING, tenant_id, vector, facets, count)

    async def sweep(self) -> int:
        """Delete at most a thousand facts that have expired; returns how many."""
        async with self._system.connection() as connection:
            return int((await connection.execute(SWEEP)).removeprefix("DELETE "))


def _memory(row: asyncpg.Record) -> pb.Memory:
    metadata = row["metadata"]
    return pb.Memory(
        key=row["key"],
        value=Value.FromString(row["value"]),
        metadata=Struct.FromString(metadata) if metadata is not None else None,
        created_at=timestamp(row["created_at"]),
        accessed_count=row["accessed_count"],
        last_accessed=timestamp(row["last_accessed"]),
        expires_at=timestamp(row["expires_at"]),
        indexed_at=timestamp(row["indexed_at"]),
    )


def _passage(row: asyncpg.Record) -> Passage:
    return Passage(row["heading"], row["text"])
