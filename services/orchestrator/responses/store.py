"""Responses in Postgres; a row settles who ended a response: the one who made it, or the one who cancelled it."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from soma.errors.v1 import reasons
from soma.mesh.v1.stream_pb2 import StreamError
from soma.orchestrator.v1.response_service_pb2 import (
    CreateResponseRequest,
    CreateResponseResponse,
    Response,
    WatchResponseResponse,
)

from services.mesh.call.errors import Code
from services.mesh.stores.group_commit import GroupCommit
from services.mesh.stores.postgres import connection
from services.mesh.watching.rows import RowSequences

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, Pool

STATES = {
    "in_progress": Response.STATE_IN_PROGRESS,
    "completed": Response.STATE_COMPLETED,
    "incomplete": Response.STATE_INCOMPLETE,
    "failed": Response.STATE_FAILED,
    "cancelled": Response.STATE_CANCELLED,
}
_NAMES = {state: name for name, state in STATES.items()}

# What of a response's events is worth keeping: its end is in the response itself.
STORED_EVENTS = frozenset({"created", "item_begun", "delta", "arguments", "item_done"})
_MOST = 1000
# A response nobody has been making for so long was interrupted: its process is gone.
LOST_SECONDS = 30.0

_Row: TypeAlias = tuple[str, int, bytes]


INSERT = """
    INSERT INTO orchestrator.response (tenant_id, response_id, previous_response_id, state, input, response,
        conversation_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
END = """
    UPDATE orchestrator.response SET response = $4, state = CASE state WHEN 'in_progress' THEN $3 ELSE state END
    WHERE tenant_id = $1 AND response_id = $2 RETURNING state
"""
_STATE = """
    CASE WHEN r.state = 'in_progress' AND r.alive_time < now() - make_interval(secs => $3) THEN 'lost' ELSE r.state END
"""
GET = f"SELECT r.response, {_STATE} FROM orchestrator.response r WHERE tenant_id = $1 AND response_id = $2"  # noqa: S608 -- a constant
PROGRESS = f"""
    SELECT r.response, {_STATE}, extract(epoch FROM r.alive_time - now())::float8 + $3
    FROM orchestrator.response r WHERE tenant_id = $1 AND response_id = $2
"""  # noqa: S608 -- a constant
EXCHANGE = (
    f"SELECT r.input, r.response, {_STATE} FROM orchestrator.response r WHERE tenant_id = $1 AND response_id = $2"  # noqa: S608 -- a constant
)
CHAIN = f"""
    WITH RECURSIVE chain AS (
        SELECT *, 0 AS depth FROM orchestrator.response WHERE tenant_id = $1 AND response_id = $2
        UNION ALL
        SELECT before.*, depth + 1 FROM chain JOIN orchestrator.response before
        ON before.tenant_id = chain.tenant_id AND before.response_id = chain.previous_response_id
    )
    SELECT r.input, r.response, {_STATE} FROM chain r ORDER BY depth DESC
"""  # noqa: S608 -- a constant
DELETE = "DELETE FROM orchestrator.response WHERE tenant_id = $1 AND response_id = $2 RETURNING response_id"
CANCEL = """
    UPDATE orchestrator.response SET state = 'cancelled'
    WHERE tenant_id = $1 AND response_id = $2 AND state = 'in_progress'
"""
STILL_WANTED = """
    UPDATE orchestrator.response SET alive_time = now()
    WHERE response_id = ANY($1) AND state <> 'cancelled' RETURNING response_id
"""
DELETE_OF_CONVERSATION = """
    DELETE FROM orchestrator.response
    WHERE tenant_id = $1 AND conversation_id = $2 AND conversation_id IS DISTINCT FROM '' AND create_time <= $3
"""
DELETE_ALL = "DELETE FROM orchestrator.response WHERE tenant_id = $1 AND response_id = ANY($2)"
# Written by an earlier version.
WITHOUT_CONVERSATION = """
    SELECT response_id, response FROM orchestrator.response
    WHERE tenant_id = $1 AND conversation_id IS NULL AND create_time <= $2
"""
FORGET = "DELETE FROM orchestrator.response WHERE create_time < now() - make_interval(secs => $1)"
# Of a response that is deleted meanwhile nobody can ask: its events are dropped.
INSERT_EVENT = """
    WITH kept AS (SELECT response_id FROM orchestrator.response WHERE response_id = $1 FOR KEY SHARE)
    INSERT INTO orchestrator.response_event (response_id, sequence, event)
    SELECT response_id, $2::integer, $3::bytea FROM kept ON CONFLICT (response_id, sequence) DO NOTHING
"""
EVENTS_SINCE = """
    SELECT event FROM orchestrator.response_event WHERE response_id = $1 AND sequence >= $2 ORDER BY sequence LIMIT $3
"""


class PostgresResponses:
    """Responses of tenants, in the schema `orchestrator`; watchers of a response are told when it ends or goes."""

    def __init__(self, pool: "Pool", sequences: RowSequences) -> None:
        self._pool = pool
        self._sequences = sequences

    async def begin(self, tenant_id: str, request: CreateResponseRequest, response: Response) -> None:
        """Keep a response that is being made, and the input it answers."""
        async with connection(self._pool) as acquired:
            await acquired.execute(
                INSERT,
                tenant_id,
                response.response_id,
                response.settings.previous_response_id,
                _NAMES[response.state],
                request.SerializeToString(),
                response.SerializeToString(),
                response.settings.conversation_id,
            )

    async def end(self, tenant_id: str, response: Response) -> None:
        """Keep how a response ended; one that was cancelled stays cancelled, and `response` says so."""
        async with connection(self._pool) as acquired:
            state = await acquired.fetchval(
                END, tenant_id, response.response_id, _NAMES[response.state], response.SerializeToString()
            )
        if state is not None:
            response.state = STATES[state]
        if response.settings.background:
            self._sequences.appended(response.response_id)

    async def get(self, tenant_id: str, response_id: str) -> Response | None:
        """A response."""
        async with connection(self._pool) as acquired:
            row = await acquired.fetchrow(GET, tenant_id, response_id, LOST_SECONDS)
        return _response(*row) if row is not None else None

    async def progress(self, tenant_id: str, response_id: str) -> tuple[Response, float] | None:
        """A response, and after how many seconds without a sign of its maker it counts as interrupted."""
        async with connection(self._pool) as acquired:
            row = await acquired.fetchrow(PROGRESS, tenant_id, response_id, LOST_SECONDS)
        return (_response(row[0], row[1]), row[2]) if row is not None else None

    async def exchange(self, tenant_id: str, response_id: str) -> tuple[CreateResponseRequest, Response] | None:
        """A response, and what it was asked."""
        async with connection(self._pool) as acquired:
            row = await acquired.fetchrow(EXCHANGE, tenant_id, response_id, LOST_SECONDS)
        return _exchange(*row) if row is not None else None

    async def chain(self, tenant_id: str, response_id: str) -> list[tuple[CreateResponseRequest, Response]]:
        """A response and those it goes on from, oldest first, as far back as they are kept."""
        async with connection(self._pool) as acquired:
            rows = await acquired.fetch(CHAIN, tenant_id, response_id, LOST_SECONDS)
        return [_exchange(*row) for row in rows]

    async def delete(self, tenant_id: str, response_id: str) -> bool:
        """Forget a response; whether there was one."""
        async with connection(self._pool) as acquired:
            deleted = await acquired.fetchval(DELETE, tenant_id, response_id) is not None
        if deleted:
            self._sequences.appended(response_id)
        return deleted

    async def cancel(self, tenant_id: str, response_id: str) -> None:
        """Mark a response as cancelled if it is still being made."""
        async with connection(self._pool) as acquired:
            await acquired.execute(CANCEL, tenant_id, response_id)
        self._sequences.appended(response_id)

    async def still_wanted(self, response_ids: Collection[str]) -> set[str]:
        """Say that these are being made; the ones that nobody cancelled or deleted."""
        async with connection(self._pool) as acquired:
            return {row[0] for row in await acquired.fetch(STILL_WANTED, list(response_ids))}

    async def forget(self, days: float) -> None:
        """Delete what is older."""
        async with connection(self._pool) as acquired:
            await acquired.execute(FORGET, days * 86_400)


class PostgresResponseEvents:
    """Events of responses that are made in the background; those of concurrent responses share a transaction."""

    def __init__(self, pool: "Pool", sequences: RowSequences) -> None:
        self._pool = pool
        self._sequences = sequences
        self._commit: GroupCommit[_Row] = GroupCommit(pool, self._insert)

    async def add(self, response_id: str, event: CreateResponseResponse) -> None:
        """Keep an event; returns once it is durable, or its response is deleted."""
        await self._commit.commit((response_id, event.sequence, event.SerializeToString()))

    async def since(self, response_id: str, sequence: int) -> list[WatchResponseResponse]:
        """The next events from a sequence on, in order; not necessarily all there are."""
        async with connection(self._pool) as acquired:
            rows = await acquired.fetch(EVENTS_SINCE, response_id, sequence, _MOST)
        return [WatchResponseResponse.FromString(row[0]) for row in rows]

    async def close(self) -> None:
        """Write what is queued and stop."""
        await self._commit.close()

    async def _insert(self, connection: "Connection", rows: Sequence[_Row]) -> None:
        await connection.executemany(INSERT_EVENT, rows)
        self._sequences.appended(*{row[0] for row in rows})


class ResponseRecord:
    """A response of a tenant, in the store; with `events`, what happens to it is kept, too."""

    def __init__(self, store: PostgresResponses, tenant_id: str, events: PostgresResponseEvents | None) -> None:
        self._store = store
        self._tenant_id = tenant_id
        self._events = events
        self._response_id = ""

    async def begin(self, request: CreateResponseRequest, response: Response) -> None:
        """It is being made."""
        self._response_id = response.response_id
        await self._store.begin(self._tenant_id, request, response)

    async def note(self, event: CreateResponseResponse) -> None:
        """This happened to it, between its beginning and its end."""
        if self._events is not None and event.WhichOneof("payload") in STORED_EVENTS:
            await self._events.add(self._response_id, event)

    async def end(self, response: Response) -> None:
        """It ended; `response` then has the state that was kept."""
        await self._store.end(self._tenant_id, response)


async def delete_of_conversation(
    connection: "Connection", tenant_id: str, conversation_id: str, until: datetime
) -> None:
    """Delete the responses of a conversation that were asked for up to then; those being made are cancelled by that."""
    older = [
        row["response_id"]
        for row in await connection.fetch(WITHOUT_CONVERSATION, tenant_id, until)
        if Response.FromString(row["response"]).settings.conversation_id == conversation_id
    ]
    await connection.execute(DELETE_ALL, tenant_id, older)
    await connection.execute(DELETE_OF_CONVERSATION, tenant_id, conversation_id, until)


def _exchange(request: bytes, response: bytes, state: str) -> tuple[CreateResponseRequest, Response]:
    return CreateResponseRequest.FromString(request), _response(response, state)


def _response(response: bytes, state: str) -> Response:
    read = Response.FromString(response)
    if state == "lost":
        read.state = Response.STATE_FAILED
        message = "The process that made this response ended before it was whole."
        read.error.CopyFrom(
            StreamError(code=Code.UNAVAILABLE, status="UNAVAILABLE", reason=reasons.INTERRUPTED, message=message)
        )
    else:
        read.state = STATES[state]
    return read
