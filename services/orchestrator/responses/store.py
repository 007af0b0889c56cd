"""Responses and their events in Postgres.

A task that finishes a response and a caller who cancels it may meet; the row's state then says who was first.
"""

from collections.abc import Collection, Iterable, Sequence
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

from services.mesh.blobs.blobs import Blobs
from services.mesh.call.errors import Code
from services.mesh.stores.group_commit import GroupCommit
from services.mesh.watching.rows import RowSequences
from services.orchestrator.media import hashes_of

if TYPE_CHECKING:
    import asyncpg

    from services.mesh.stores.postgres import Connection, Database

STATES = {
    "in_progress": Response.STATE_IN_PROGRESS,
    "completed": Response.STATE_COMPLETED,
    "incomplete": Response.STATE_INCOMPLETE,
    "failed": Response.STATE_FAILED,
    "cancelled": Response.STATE_CANCELLED,
}
_NAMES = {state: name for name, state in STATES.items()}

# The events that are stored; the last one is made from the stored response.
STORED_EVENTS = frozenset({"created", "item_begun", "delta", "reasoning", "arguments", "item_done"})
_EVENTS_A_READ = 1000
# A response without a sign of life for this long was interrupted, because its process is gone.
LOST_SECONDS = 30.0

_Row: TypeAlias = tuple[str, str, int, bytes]

INSERT = """
    INSERT INTO orchestrator.response (tenant_id, response_id, previous_response_id, state, input, response,
        conversation_id, media)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
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
# Deletions return who kept bytes for whom.
_DELETED = "RETURNING tenant_id, response_id, media"
DELETE = f"DELETE FROM orchestrator.response WHERE tenant_id = $1 AND response_id = $2 {_DELETED}"  # noqa: S608 -- a constant
CANCEL = """
    UPDATE orchestrator.response SET state = 'cancelled'
    WHERE tenant_id = $1 AND response_id = $2 AND state = 'in_progress'
"""
STILL_WANTED = """
    UPDATE orchestrator.response SET alive_time = now()
    WHERE (tenant_id, response_id) IN (SELECT * FROM unnest($1::text[], $2::text[])) AND state <> 'cancelled'
    RETURNING tenant_id, response_id
"""
DELETE_OF_CONVERSATION = f"""
    DELETE FROM orchestrator.response
    WHERE tenant_id = $1 AND conversation_id = $2 AND conversation_id IS DISTINCT FROM '' AND create_time <= $3
    {_DELETED}
"""  # noqa: S608 -- a constant
DELETE_ALL = f"DELETE FROM orchestrator.response WHERE tenant_id = $1 AND response_id = ANY($2) {_DELETED}"  # noqa: S608 -- a constant
# Rows of an earlier version have no conversation_id.
WITHOUT_CONVERSATION = """
    SELECT response_id, response FROM orchestrator.response
    WHERE tenant_id = $1 AND conversation_id IS NULL AND create_time <= $2
"""
FORGET = f"DELETE FROM orchestrator.response WHERE create_time < now() - make_interval(secs => $1) {_DELETED}"  # noqa: S608 -- a constant
# An event of a response that was deleted is dropped, because nobody can read it.
INSERT_EVENT = """
    WITH kept AS (
        SELECT tenant_id, response_id FROM orchestrator.response WHERE tenant_id = $1 AND response_id = $2 FOR KEY SHARE
    )
    INSERT INTO orchestrator.response_event (tenant_id, response_id, sequence, event)
    SELECT tenant_id, response_id, $3::integer, $4::bytea FROM kept
    ON CONFLICT (tenant_id, response_id, sequence) DO NOTHING
"""
EVENTS_SINCE = """
    SELECT event FROM orchestrator.response_event
    WHERE tenant_id = $1 AND response_id = $2 AND sequence >= $3 ORDER BY sequence LIMIT $4
"""


class PostgresResponses:
    """Responses of tenants; announces to watchers that a response ended or was deleted."""

    def __init__(self, database: "Database", sequences: RowSequences, blobs: Blobs) -> None:
        self._tenants = database.tenants
        self._system = database.system
        self._sequences = sequences
        self._blobs = blobs

    async def begin(self, tenant_id: str, request: CreateResponseRequest, response: Response) -> None:
        """Store a new response, the request with its input, and the bytes that the input refers to.

        Raises:
            NotFound: MEDIA_NOT_FOUND: the tenant has no such bytes.
        """
        hashes = hashes_of(each.message for each in request.input)
        row = (
            tenant_id,
            response.response_id,
            response.settings.previous_response_id,
            _NAMES[response.state],
            request.SerializeToString(),
            response.SerializeToString(),
            response.settings.conversation_id,
            bool(hashes),
        )
        if not hashes:
            async with self._tenants.connection(tenant_id) as acquired:
                await acquired.execute(INSERT, *row)
            return
        async with self._tenants.transaction(tenant_id) as acquired:
            await acquired.execute(INSERT, *row)
            await self._blobs.keep(acquired, tenant_id, _owner(response.response_id), hashes)

    async def end(self, tenant_id: str, response: Response) -> None:
        """Store how a response ended; one that was cancelled stays cancelled, and `response` gets that state."""
        async with self._tenants.connection(tenant_id) as acquired:
            state = await acquired.fetchval(
                END, tenant_id, response.response_id, _NAMES[response.state], response.SerializeToString()
            )
        if state is not None:
            response.state = STATES[state]
        if response.settings.background:
            self._sequences.appended(response.response_id)

    async def get(self, tenant_id: str, response_id: str) -> Response | None:
        """A response; None when there is none."""
        async with self._tenants.connection(tenant_id) as acquired:
            row = await acquired.fetchrow(GET, tenant_id, response_id, LOST_SECONDS)
        return _response(*row) if row is not None else None

    async def progress(self, tenant_id: str, response_id: str) -> tuple[Response, float] | None:
        """A response, and the seconds until it counts as interrupted unless its task gives a sign of life."""
        async with self._tenants.connection(tenant_id) as acquired:
            row = await acquired.fetchrow(PROGRESS, tenant_id, response_id, LOST_SECONDS)
        return (_response(row[0], row[1]), row[2]) if row is not None else None

    async def exchange(self, tenant_id: str, response_id: str) -> tuple[CreateResponseRequest, Response] | None:
        """A response and its request."""
        async with self._tenants.connection(tenant_id) as acquired:
            row = await acquired.fetchrow(EXCHANGE, tenant_id, response_id, LOST_SECONDS)
        return _exchange(*row) if row is not None else None

    async def chain(self, tenant_id: str, response_id: str) -> list[tuple[CreateResponseRequest, Response]]:
        """A response and those it continues, oldest first, as far back as they are stored."""
        async with self._tenants.connection(tenant_id) as acquired:
            rows = await acquired.fetch(CHAIN, tenant_id, response_id, LOST_SECONDS)
        return [_exchange(*row) for row in rows]

    async def delete(self, tenant_id: str, response_id: str) -> bool:
        """Delete a response; returns whether there was one."""
        async with self._tenants.transaction(tenant_id) as acquired:
            deleted = await acquired.fetch(DELETE, tenant_id, response_id)
            await _release_media(acquired, self._blobs, deleted)
        if deleted:
            self._sequences.appended(response_id)
        return bool(deleted)

    async def cancel(self, tenant_id: str, response_id: str) -> None:
        """Mark a response as cancelled if it is in progress."""
        async with self._tenants.connection(tenant_id) as acquired:
            await acquired.execute(CANCEL, tenant_id, response_id)
        self._sequences.appended(response_id)

    async def still_wanted(self, responses: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Mark responses, each a tenant and an id, as alive; returns those that were neither cancelled nor deleted."""
        tenants, ids = [tenant_id for tenant_id, _ in responses], [response_id for _, response_id in responses]
        async with self._system.connection() as acquired:
            return {(row[0], row[1]) for row in await acquired.fetch(STILL_WANTED, tenants, ids)}

    async def forget(self, days: float) -> None:
        """Delete the responses that are older than this number of days."""
        async with self._system.transaction() as acquired:
            await _release_media(acquired, self._blobs, await acquired.fetch(FORGET, days * 86_400))


class PostgresResponseEvents:
    """Events of responses that are made in the background; those of concurrent responses share a transaction."""

    def __init__(self, database: "Database", sequences: RowSequences) -> None:
        self._tenants = database.tenants
        self._system = database.system
        self._sequences = sequences
        self._commit: GroupCommit[_Row] = GroupCommit(database.system, self._insert)

    async def add(self, tenant_id: str, response_id: str, event: CreateResponseResponse) -> None:
        """Store an event; returns once it is durable, or once its response is deleted."""
        await self._commit.commit((tenant_id, response_id, event.sequence, event.SerializeToString()))

    async def since(self, tenant_id: str, response_id: str, sequence: int) -> list[WatchResponseResponse]:
        """The next events from number `sequence` on, in order; at most 1,000."""
        async with self._tenants.connection(tenant_id) as acquired:
            rows = await acquired.fetch(EVENTS_SINCE, tenant_id, response_id, sequence, _EVENTS_A_READ)
        return [WatchResponseResponse.FromString(row[0]) for row in rows]

    async def close(self) -> None:
        """Write the queued events and stop."""
        await self._commit.close()

    async def _insert(self, connection: "Connection", rows: Sequence[_Row]) -> None:
        await connection.executemany(INSERT_EVENT, rows)
        self._sequences.appended(*{response_id for _, response_id, _, _ in rows})


class ResponseRecord:
    """The rows of one response; its events are stored too if `events` is given."""

    def __init__(self, store: PostgresResponses, tenant_id: str, events: PostgresResponseEvents | None) -> None:
        self._store = store
        self._tenant_id = tenant_id
        self._events = events
        self._response_id = ""

    async def begin(self, request: CreateResponseRequest, response: Response) -> None:
        """Store the new response."""
        self._response_id = response.response_id
        await self._store.begin(self._tenant_id, request, response)

    async def add_event(self, event: CreateResponseResponse) -> None:
        """Store an event between the beginning and the end."""
        if self._events is not None and event.WhichOneof("payload") in STORED_EVENTS:
            await self._events.add(self._tenant_id, self._response_id, event)

    async def end(self, response: Response) -> None:
        """Store the response at its end; `response` gets the stored state."""
        await self._store.end(self._tenant_id, response)


async def _release_media(connection: "Connection", blobs: Blobs, deleted: Iterable["asyncpg.Record"]) -> None:
    """Let go of the bytes that were kept for deleted responses."""
    for row in deleted:
        if row["media"]:
            await blobs.release(connection, row["tenant_id"], _owner(row["response_id"]))


async def delete_of_conversation(
    connection: "Connection", blobs: Blobs, tenant_id: str, conversation_id: str, until: datetime
) -> None:
    """Delete the responses of a conversation that were created until then; their tasks end when they find no row."""
    older = [
        row["response_id"]
        for row in await connection.fetch(WITHOUT_CONVERSATION, tenant_id, until)
        if Response.FromString(row["response"]).settings.conversation_id == conversation_id
    ]
    deleted = await connection.fetch(DELETE_ALL, tenant_id, older)
    deleted += await connection.fetch(DELETE_OF_CONVERSATION, tenant_id, conversation_id, until)
    await _release_media(connection, blobs, deleted)


def _owner(response_id: str) -> str:
    """The name under which the bytes of a response's input are kept."""
    return f"response:{response_id}"


def _exchange(request: bytes, row: bytes, state: str) -> tuple[CreateResponseRequest, Response]:
    return CreateResponseRequest.FromString(request), _response(row, state)


def _response(row: bytes, state: str) -> Response:
    response = Response.FromString(row)
    if state == "lost":
        response.state = Response.STATE_FAILED
        message = "The process that made this response ended before it was whole."
        response.error.CopyFrom(
            StreamError(code=Code.UNAVAILABLE, status="UNAVAILABLE", reason=reasons.INTERRUPTED, message=message)
        )
    else:
        response.state = STATES[state]
    return response
