"""Sessions and the request ids of their messages, in Postgres."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from services.mesh.call.principal import Principal

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, TenantPool

CREATE = """
    INSERT INTO orchestrator.chat_session (tenant_id, subject, request_id, session_type, model_name, user_id, title,
        agent_id, template, instructions, config)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (tenant_id, subject, request_id) WHERE request_id IS NOT NULL DO NOTHING RETURNING *
"""
CREATED = """
    SELECT * FROM orchestrator.chat_session
    WHERE tenant_id = $1 AND subject = $2 AND request_id = $3 AND status <> 'deleting'
"""
GET = """
    SELECT * FROM orchestrator.chat_session
    WHERE tenant_id = $1 AND subject = $2 AND id = $3 AND status <> 'deleting'
"""
LIST = """
    SELECT * FROM orchestrator.chat_session
    WHERE tenant_id = $1 AND subject = $2 AND status <> 'deleting'
        AND ($3 = '' OR status = $3) AND ($4 = '' OR session_type = $4) AND ($5 = '' OR user_id = $5)
        AND ($6::timestamptz IS NULL OR (created_at, id) < ($6, $7::uuid))
    ORDER BY created_at DESC, id DESC LIMIT $8
"""
SET_STATUS = """
    UPDATE orchestrator.chat_session
    SET status = $4, version = version + (status <> $4)::integer, updated_at = now()
    WHERE tenant_id = $1 AND subject = $2 AND id = $3 AND status = ANY($5::text[]) AND ($6 = '' OR version::text = $6)
    RETURNING *
"""
# A hidden session is not found any more. A deletion that has begun continues with any etag.
HIDE = """
    UPDATE orchestrator.chat_session SET status = 'deleting', version = version + 1
    WHERE tenant_id = $1 AND subject = $2 AND id = $3 AND ($4 = '' OR version::text = $4 OR status = 'deleting')
    RETURNING id
"""
DELETE = "DELETE FROM orchestrator.chat_session WHERE tenant_id = $1 AND id = $2 AND status = 'deleting'"
DELETE_OF_CONVERSATION = "DELETE FROM orchestrator.chat_session WHERE tenant_id = $1 AND id = $2"
CLAIM = """
    INSERT INTO orchestrator.chat_session_request AS request (tenant_id, session_id, request_id, claimed_until)
    VALUES ($1, $2, $3, now() + make_interval(secs => $4))
    ON CONFLICT (tenant_id, session_id, request_id) DO UPDATE SET claimed_until = excluded.claimed_until
        WHERE request.response IS NULL AND request.claimed_until < now()
    RETURNING request_id
"""
CLAIMED = """
    SELECT response FROM orchestrator.chat_session_request
    WHERE tenant_id = $1 AND session_id = $2 AND request_id = $3
"""
RELEASE = """
    DELETE FROM orchestrator.chat_session_request
    WHERE tenant_id = $1 AND session_id = $2 AND request_id = $3 AND response IS NULL
"""
FAIL = "UPDATE orchestrator.chat_session SET failures = failures + 1 WHERE tenant_id = $1 AND id = $2"
ANSWER = """
    UPDATE orchestrator.chat_session
    SET version = version + 1, messages = messages + $3, answers = answers + 1, prompt_tokens = prompt_tokens + $4,
        response_tokens = response_tokens + $5, response_seconds = response_seconds + $6,
        generation_seconds = generation_seconds + $7, updated_at = now(), last_message_at = now()
    WHERE tenant_id = $1 AND id = $2 AND status <> 'deleting' RETURNING id
"""
KEEP = """
    UPDATE orchestrator.chat_session_request SET response = $4
    WHERE tenant_id = $1 AND session_id = $2 AND request_id = $3
"""
FORGET = """
    DELETE FROM orchestrator.chat_session_request
    WHERE tenant_id = $1 AND session_id = $2 AND created_at < now() - interval '1 day' AND claimed_until < now()
"""
_INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it was read: its public part, its instructions and its statistics."""

    public: pb.ChatSession
    instructions: str
    stats: pb.GetChatSessionStatsResponse


@dataclass(frozen=True, slots=True)
class Claim:
    """An earlier claim of a request id, with the serialised answer; None while it is being answered."""

    response: bytes | None


@dataclass(frozen=True, slots=True)
class Selection:
    """The sessions of a page: those that match these fields, behind the session `after` (its creation time and id)."""

    status: str
    session_type: str
    user_id: str
    after: tuple[datetime, UUID] | None
    limit: int


class PostgresSessions:
    """Stores sessions; methods with an `owner` see only the sessions of that principal."""

    def __init__(self, tenants: "TenantPool") -> None:
        self._tenants = tenants

    async def create(
        self, owner: Principal, request: pb.CreateChatSessionRequest, template: pb.ChatTemplate, instructions: str
    ) -> Session | None:
        """Create a session, or return the one of the same request id; None while that one is being deleted."""
        who = owner.tenant_id, owner.subject, request.request_id or None
        config = request.config.SerializeToString() if request.HasField("config") else None
        texts = template.session_type, request.model_name, request.user_id, request.title, request.agent_id
        async with self._tenants.connection(owner.tenant_id) as connection:
            row = await connection.fetchrow(CREATE, *who, *texts, template.name, instructions, config)
            return _session(row or await connection.fetchrow(CREATED, *who))

    async def get(self, owner: Principal, session_id: str) -> Session | None:
        """A session; None when the principal has no such session."""
        async with self._tenants.connection(owner.tenant_id) as connection:
            return _session(await connection.fetchrow(GET, owner.tenant_id, owner.subject, session_id))

    async def page(self, owner: Principal, selection: Selection) -> list[Session]:
        """The selected sessions, newest first."""
        chosen = selection.status, selection.session_type, selection.user_id
        after = selection.after or (None, None)
        async with self._tenants.connection(owner.tenant_id) as connection:
            rows = await connection.fetch(LIST, owner.tenant_id, owner.subject, *chosen, *after, selection.limit)
        return [_read(row) for row in rows]

    async def set_status(
        self, owner: Principal, session_id: str, status: str, sources: Sequence[str], etag: str
    ) -> Session | None:
        """Set a session's status if it has one of `sources` and this etag; None otherwise."""
        async with self._tenants.connection(owner.tenant_id) as connection:
            return _session(
                await connection.fetchrow(SET_STATUS, owner.tenant_id, owner.subject, session_id, status, sources, etag)
            )

    async def hide(self, owner: Principal, session_id: str, etag: str) -> bool:
        """Begin to delete a session, and hide it; False if it is unknown or has another etag."""
        async with self._tenants.connection(owner.tenant_id) as connection:
            return bool(await connection.fetchval(HIDE, owner.tenant_id, owner.subject, session_id, etag))

    async def delete(self, tenant_id: str, session_id: str) -> None:
        """Delete a hidden session."""
        async with self._tenants.connection(tenant_id) as connection:
            await connection.execute(DELETE, tenant_id, session_id)

    async def claim(self, tenant_id: str, session_id: str, request_id: str, seconds: float) -> Claim | None:
        """Claim a request id for this number of seconds; returns an earlier claim, or None if this one succeeded."""
        async with self._tenants.connection(tenant_id) as connection:
            if await connection.fetchval(CLAIM, tenant_id, session_id, request_id, seconds):
                return None
            # A claim that is released between the two statements reads as being answered; a retry then succeeds.
            return Claim(await connection.fetchval(CLAIMED, tenant_id, session_id, request_id))

    async def release(self, tenant_id: str, session_id: str, request_id: str) -> None:
        """Release a claim that has no answer."""
        async with self._tenants.connection(tenant_id) as connection:
            await connection.execute(RELEASE, tenant_id, session_id, request_id)

    async def fail(self, tenant_id: str, session_id: str) -> None:
        """Count a message that got no answer."""
        async with self._tenants.connection(tenant_id) as connection:
            await connection.execute(FAIL, tenant_id, session_id)

    async def answer(
        self, tenant_id: str, session_id: str, request_id: str, messages: int, answer: pb.SendChatMessageResponse
    ) -> bool:
        """Count an answer, and store it with the claim of its request id; False if the session was deleted."""
        metrics = answer.performance_metrics
        tokens = metrics.prompt_tokens, metrics.response_tokens
        seconds = metrics.response_time_seconds, metrics.generation_time_seconds
        async with self._tenants.transaction(tenant_id) as connection:
            if not await connection.fetchval(ANSWER, tenant_id, session_id, messages, *tokens, *seconds):
                return False
            if request_id:
                await connection.execute(KEEP, tenant_id, session_id, request_id, answer.SerializeToString())
                await connection.execute(FORGET, tenant_id, session_id)
        return True


async def delete_of_conversation(connection: "Connection", tenant_id: str, session_id: UUID) -> None:
    """Delete the session of a deleted conversation, whichever principal of the tenant owns it."""
    await connection.execute(DELETE_OF_CONVERSATION, tenant_id, session_id)


def _session(row: asyncpg.Record | None) -> Session | None:
    return _read(row) if row else None


def _read(row: asyncpg.Record) -> Session:
    public = pb.ChatSession(
        id=str(row["id"]),
        session_type=row["session_type"],
        model_name=row["model_name"],
        user_id=row["user_id"],
        title=row["title"],
        agent_id=row["agent_id"],
        template=row["template"],
        status=row["status"],
        message_count=row["messages"],
        etag=str(row["version"]),
    )
    if row["config"] is not None:
        public.config.ParseFromString(row["config"])
        public.config.SetInParent()
    public.created_at.FromDatetime(row["created_at"])
    public.updated_at.FromDatetime(row["updated_at"])
    if row["last_message_at"] is not None:
        public.last_message_at.FromDatetime(row["last_message_at"])
    return Session(public, row["instructions"], _stats(row))


def _stats(row: asyncpg.Record) -> pb.GetChatSessionStatsResponse:
    answers, tokens = row["answers"], row["response_tokens"]
    stats = pb.GetChatSessionStatsResponse(
        session_id=str(row["id"]),
        message_count=row["messages"],
        user_messages=answers,
        assistant_messages=row["messages"] - answers,
        failed_messages=row["failures"],
        prompt_tokens=min(row["prompt_tokens"], _INT32),
        response_tokens=min(tokens, _INT32),
        total_tokens=min(row["prompt_tokens"] + tokens, _INT32),
        total_response_time_seconds=row["response_seconds"],
        average_response_time_seconds=row["response_seconds"] / answers if answers else 0.0,
        average_tokens_per_second=tokens / row["generation_seconds"] if row["generation_seconds"] > 0 else 0.0,
    )
    if row["last_message_at"] is not None:
        stats.last_message_at.FromDatetime(row["last_message_at"])
        stats.duration_seconds = (row["last_message_at"] - row["created_at"]).total_seconds()
    return stats
