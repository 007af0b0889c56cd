"""Conversations in schema `memory`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import asyncpg
from soma.memory.v1 import memory_service_pb2 as pb
from soma.memory.v1.events_pb2 import ConversationDeleted
from soma.model.v1 import message_pb2

from services.memory.embedder import score
from services.memory.passages import Passage
from services.memory.question import Found, Question
from services.mesh.blobs.blobs import Blobs
from services.mesh.call.timestamp import timestamp
from services.mesh.events.event import new_event
from services.mesh.events.outbox import Outbox
from services.messages.message import media_of

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, TenantPool

# The row of the conversation is locked, so that concurrent appends take turns.
LOCK = """
    INSERT INTO memory.conversation AS conversation (tenant_id, conversation_id, last_sequence) VALUES ($1, $2, 0)
    ON CONFLICT (tenant_id, conversation_id) DO UPDATE SET last_sequence = conversation.last_sequence
    RETURNING last_sequence
"""
APPENDED = """
    SELECT sequence FROM memory.turn WHERE tenant_id = $1 AND conversation_id = $2 AND request_id = $3
"""
APPEND = """
    WITH extended AS (
        UPDATE memory.conversation SET last_sequence = last_sequence + cardinality($3::integer[])
        WHERE tenant_id = $1 AND conversation_id = $2
    )
    INSERT INTO memory.turn (tenant_id, conversation_id, sequence, role, tokens, message, request_id)
    SELECT $1, $2, * FROM unnest($3::integer[], $4::smallint[], $5::integer[], $6::bytea[], $7::uuid[])
"""
APPEND_PASSAGES = """
    INSERT INTO memory.passage (tenant_id, conversation_id, sequence, heading, text)
    SELECT $1, $2, sequence, '', text FROM unnest($3::integer[], $4::text[]) AS passage (sequence, text)
"""
APPEND_MEDIA = """
    INSERT INTO memory.media (tenant_id, conversation_id, hash, media_type)
    SELECT $1, $2, * FROM unnest($3::text[], $4::text[]) ON CONFLICT DO NOTHING
"""
MEDIA_TYPE = """
    SELECT media_type FROM memory.media WHERE tenant_id = $1 AND hash = $2 AND media_type <> ''
    ORDER BY conversation_id LIMIT 1
"""
LENGTH = "SELECT last_sequence FROM memory.conversation WHERE tenant_id = $1 AND conversation_id = $2"
LIST = """
    SELECT conversation_id, last_sequence, created_at FROM memory.conversation
    WHERE tenant_id = $1 AND conversation_id > $2 ORDER BY conversation_id LIMIT $3
"""
DELETE = "DELETE FROM memory.conversation WHERE tenant_id = $1 AND conversation_id = $2 RETURNING last_sequence, now()"
PAGE = """
    SELECT sequence, message, created_at FROM (
        SELECT sequence, message, created_at, sum(octet_length(message)) OVER (ORDER BY sequence) AS bytes FROM (
            SELECT sequence, message, created_at FROM memory.turn
            WHERE tenant_id = $1 AND conversation_id = $2 AND sequence > $3 ORDER BY sequence LIMIT $4
        ) AS page
    ) AS page WHERE bytes <= $5 OR sequence = $3 + 1 ORDER BY sequence
"""
NEWEST = """
    SELECT sequence, message, created_at, tokens FROM (
        SELECT sequence, message, created_at, tokens, sum(tokens) OVER (ORDER BY sequence DESC) AS sum FROM (
            SELECT sequence, message, created_at, tokens FROM memory.turn
            WHERE tenant_id = $1 AND conversation_id = $2 ORDER BY sequence DESC LIMIT $3
        ) AS newest
    ) AS newest WHERE sum <= $4 OR sum = tokens ORDER BY sequence
"""
BY_MEANING = """
    SELECT * FROM (
        SELECT DISTINCT ON (sequence) sequence, text, 1 - (embedding <=> $3::real[]::vector) AS cosine
        FROM memory.passage
        WHERE tenant_id = $1 AND conversation_id = $2 AND sequence < $4 AND embedding IS NOT NULL
        ORDER BY sequence, cosine DESC
    ) AS best ORDER BY cosine DESC LIMIT $5
"""
BY_WORDS = """
    WITH asked AS (
        SELECT tsvector_to_array(to_tsvector('english', $3)) AS terms,
            replace(plainto_tsquery('english', $3)::text, ' & ', ' | ')::tsquery AS query
    )
    SELECT * FROM (
        SELECT DISTINCT ON (sequence) sequence, text,
            cardinality(ARRAY(SELECT unnest(asked.terms) INTERSECT SELECT unnest(tsvector_to_array(passage.terms))))
                / cardinality(asked.terms)::float8 AS share
        FROM asked, memory.passage
        WHERE tenant_id = $1 AND conversation_id = $2 AND sequence < $4 AND passage.terms @@ asked.query
        ORDER BY sequence, share DESC
    ) AS best ORDER BY share DESC, sequence DESC LIMIT $5
"""

# The event that reports a deletion.
DELETED = "memory.conversation.deleted"

_FEWEST_TOKENS = 4


class ConversationStore:
    """Keeps the turns of conversations with their media; sends an event when a conversation is deleted."""

    def __init__(self, tenants: "TenantPool", outbox: Outbox, blobs: Blobs) -> None:
        self._tenants = tenants
        self._outbox = outbox
        self._blobs = blobs

    async def append(
        self,
        tenant_id: str,
        request: pb.AppendMessagesRequest,
        tokens: Sequence[int],
        passages: Sequence[tuple[int, str]],
    ) -> int:
        """Add turns, all or none, once per `request_id`; returns the position of the last one.

        Args:
            tokens: of each turn.
            passages: texts that searches find the turns by, each with the turn's index in the request, from 0.

        Raises:
            NotFound: MEDIA_NOT_FOUND, a turn has a hash of bytes that the tenant does not have.
        """
        conversation_id, count = request.conversation_id, len(request.messages)
        request_id = request.request_id or None
        async with self._tenants.transaction(tenant_id) as connection:
            last: int = await connection.fetchval(LOCK, tenant_id, conversation_id)
            if request_id:
                earlier: int | None = await connection.fetchval(APPENDED, tenant_id, conversation_id, request_id)
                if earlier is not None:
                    return earlier
            await self._keep(connection, tenant_id, request)
            await connection.execute(
                APPEND,
                tenant_id,
                conversation_id,
                range(last + 1, last + count + 1),
                [message.role for message in request.messages],
                tokens,
                [message.SerializeToString() for message in request.messages],
                [*[None] * (count - 1), request_id],
            )
            if passages:
                sequences, texts = zip(*((last + 1 + place, text) for place, text in passages), strict=True)
                await connection.execute(APPEND_PASSAGES, tenant_id, conversation_id, sequences, texts)
        return last + count

    async def media_type(self, tenant_id: str, hash: str) -> str | None:
        """The type that a turn states for bytes; None if no turn does."""
        async with self._tenants.connection(tenant_id) as connection:
            found: str | None = await connection.fetchval(MEDIA_TYPE, tenant_id, hash)
        return found

    async def _keep(self, connection: "Connection", tenant_id: str, request: pb.AppendMessagesRequest) -> None:
        types = {media.hash: media.media_type for media in media_of(request.messages) if media.hash}
        if types:
            conversation_id = request.conversation_id
            await self._blobs.keep(connection, tenant_id, _owner(conversation_id), types)
            await connection.execute(APPEND_MEDIA, tenant_id, conversation_id, [*types.keys()], [*types.values()])

    async def page(
        self, tenant_id: str, conversation_id: str, after: int, limit: int, max_bytes: int
    ) -> tuple[list[pb.ConversationMessage], int] | None:
        """The turns after `after`, at least one if there is one, and the conversation's length; None if unknown."""
        async with self._tenants.connection(tenant_id) as connection:
            length = await connection.fetchval(LENGTH, tenant_id, conversation_id)
            if length is None:
                return None
            rows = await connection.fetch(PAGE, tenant_id, conversation_id, after, limit, max_bytes)
        return [_message(row) for row in rows], length

    async def conversations(self, tenant_id: str, after: str, limit: int) -> list[pb.Conversation]:
        """At most `limit` conversations with ids behind `after`, in the order of their ids."""
        async with self._tenants.connection(tenant_id) as connection:
            rows = await connection.fetch(LIST, tenant_id, after, limit)
        return [
            pb.Conversation(
                conversation_id=row["conversation_id"],
                messages=row["last_sequence"],
                create_time=timestamp(row["created_at"]),
            )
            for row in rows
        ]

    async def delete(self, tenant_id: str, conversation_id: str) -> int:
        """Delete a conversation; returns how many turns it had."""
        async with self._tenants.transaction(tenant_id) as connection:
            row = await connection.fetchrow(DELETE, tenant_id, conversation_id)
            if row is None:
                return 0
            count, when = row
            await self._blobs.release(connection, tenant_id, _owner(conversation_id))
            event = new_event(DELETED, tenant_id, ConversationDeleted(conversation_id=conversation_id), when)
            await self._outbox.add(connection, conversation_id, event)
        self._outbox.wake()
        return int(count)

    async def newest(
        self, tenant_id: str, conversation_id: str, tokens: int
    ) -> list[tuple[pb.ConversationMessage, int]]:
        """The newest turn, and as many before it as fit into `tokens`; the oldest first, each with its tokens."""
        most = tokens // _FEWEST_TOKENS + 1
        async with self._tenants.connection(tenant_id) as connection:
            rows = await connection.fetch(NEWEST, tenant_id, conversation_id, most, tokens)
        return [(_message(row), row["tokens"]) for row in rows]

    async def find(
        self, tenant_id: str, conversation_id: str, question: Question, before: int, limit: int
    ) -> list[Found]:
        """The turns older than `before` with the passages that fit best, best first."""
        async with self._tenants.connection(tenant_id) as connection:
            if question.vector is None:
                text = question.text.replace("\0", " ")
                rows = await connection.fetch(BY_WORDS, tenant_id, conversation_id, text, before, limit)
                scores = [row["share"] for row in rows]
            else:
                rows = await connection.fetch(BY_MEANING, tenant_id, conversation_id, question.vector, before, limit)
                scores = [score(row["cosine"]) for row in rows]
        return [
            Found(f"conversation:{conversation_id}#{row['sequence']}", Passage("", row["text"]), found, row["sequence"])
            for row, found in zip(rows, scores, strict=True)
        ]


def _owner(conversation_id: str) -> str:
    """The name of a conversation as the owner of bytes."""
    return f"conversation:{conversation_id}"


def _message(row: asyncpg.Record) -> pb.ConversationMessage:
    return pb.ConversationMessage(
        message=message_pb2.Message.FromString(row["message"]),
        sequence=row["sequence"],
        create_time=timestamp(row["created_at"]),
    )
