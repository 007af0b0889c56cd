"""Responses in Postgres; a row settles who ended a response: the one who made it, or the one who cancelled it."""

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from soma.errors.v1 import reasons
from soma.mesh.v1.stream_pb2 import StreamError
from soma.orchestrator.v1.response_service_pb2 import CreateResponseRequest, Response

from services.mesh.call.errors import Code
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

# A response nobody has been making for so long was interrupted: its process is gone.
LOST_SECONDS = 30.0


class ResponseStore(Protocol):
    """Keeps responses of tenants."""

    async def begin(self, tenant_id: str, asked: CreateResponseRequest, response: Response) -> None:
        """Keep a response that is being made, and the input it answers."""

    async def end(self, tenant_id: str, response: Response) -> None:
        """Keep how a response ended; one that was cancelled stays cancelled, and `response` says so."""

    async def get(self, tenant_id: str, response_id: str) -> Response | None:
        """A response."""

    async def progress(self, tenant_id: str, response_id: str) -> tuple[Response, float] | None:
        """A response, and after how many seconds without a sign of its maker it counts as interrupted."""

    async def link(self, tenant_id: str, response_id: str) -> tuple[CreateResponseRequest, Response] | None:
        """A response, and what it was asked."""

    async def chain(self, tenant_id: str, response_id: str) -> list[tuple[CreateResponseRequest, Response]]:
        """A response and those it goes on from, oldest first, as far back as they are kept."""

    async def delete(self, tenant_id: str, response_id: str) -> bool:
        """Forget a response; whether there was one."""

    async def cancel(self, tenant_id: str, response_id: str) -> None:
        """Mark a response as cancelled if it is still being made."""

    async def still_wanted(self, response_ids: Collection[str]) -> set[str]:
        """Say that these are being made; the ones that nobody cancelled or deleted."""

    async def forget(self, days: float) -> None:
        """Delete what is older."""


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
LINK = f"SELECT r.input, r.response, {_STATE} FROM orchestrator.response r WHERE tenant_id = $1 AND response_id = $2"  # noqa: S608 -- a constant
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


class PostgresResponses:
    """`ResponseStore` in the schema `orchestrator`; watchers of a response are told when it ends or goes."""

    def __init__(self, pool: "Pool", sequences: RowSequences) -> None:
        self._pool = pool
        self._sequences = sequences

    async def begin(self, tenant_id: str, asked: CreateResponseRequest, response: Response) -> None:
        """See `ResponseStore`."""
        async with connection(self._pool) as acquired:
            await acquired.execute(
                INSERT,
                tenant_id,
                response.response_id,
                response.settings.previous_response_id,
                _NAMES[response.state],
                asked.SerializeToString(),
                response.SerializeToString(),
                response.settings.conversation_id,
            )

    async def end(self, tenant_id: str, response: Response) -> None:
        """See `ResponseStore`."""
        async with connection(self._pool) as acquired:
            state = await acquired.fetchval(
                END, tenant_id, response.response_id, _NAMES[response.state], response.SerializeToString()
            )
        if state is not None:
            response.state = STATES[state]
        if response.settings.background:
            self._sequences.appended(response.response_id)

    async def get(self, tenant_id: str, response_id: str) -> Response | None:
        """See `ResponseStore`."""
        async with connection(self._pool) as acquired:
            row = await acquired.fetchrow(GET, tenant_id, response_id, LOST_SECONDS)
        return _response(*row) if row is not None else None

    async def progress(self, tenant_id: str, response_id: str) -> tuple[Response, float] | None:
        """See `ResponseStore`."""
        async with connection(self._pool) as acquired:
            row = await acquired.fetchrow(PROGRESS, tenant_id, response_id, LOST_SECONDS)
        return (_response(row[0], row[1]), row[2]) if row is not None else None

    async def link(self, tenant_id: str, response_id: str) -> tuple[CreateResponseRequest, Response] | None:
        """See `ResponseStore`."""
        async with connection(self._pool) as acquired:
            row = await acquired.fetchrow(LINK, tenant_id, response_id, LOST_SECONDS)
        return _link(*row) if row is not None else None

    async def chain(self, tenant_id: str, response_id: str) -> list[tuple[CreateResponseRequest, Response]]:
        """See `ResponseStore`."""
        async with connection(self._pool) as acquired:
            rows = await acquired.fetch(CHAIN, tenant_id, response_id, LOST_SECONDS)
        return [_link(*row) for row in rows]

    async def delete(self, tenant_id: str, response_id: str) -> bool:
        """See `ResponseStore`."""
        async with connection(self._pool) as acquired:
            deleted = await acquired.fetchval(DELETE, tenant_id, response_id) is not None
        if deleted:
            self._sequences.appended(response_id)
        return deleted

    async def cancel(self, tenant_id: str, response_id: str) -> None:
        """See `ResponseStore`."""
        async with connection(self._pool) as acquired:
            await acquired.execute(CANCEL, tenant_id, response_id)
        self._sequences.appended(response_id)

    async def still_wanted(self, response_ids: Collection[str]) -> set[str]:
        """See `ResponseStore`."""
        async with connection(self._pool) as acquired:
            return {row[0] for row in await acquired.fetch(STILL_WANTED, list(response_ids))}

    async def forget(self, days: float) -> None:
        """See `ResponseStore`."""
        async with connection(self._pool) as acquired:
            await acquired.execute(FORGET, days * 86_400)


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


def _link(asked: bytes, kept: bytes, state: str) -> tuple[CreateResponseRequest, Response]:
    return CreateResponseRequest.FromString(asked), _response(kept, state)


def _response(kept: bytes, state: str) -> Response:
    response = Response.FromString(kept)
    if state == "lost":
        response.state = Response.STATE_FAILED
        message = "The process that made this response ended before it was whole."
        response.error.CopyFrom(
            StreamError(code=Code.UNAVAILABLE, status="UNAVAILABLE", reason=reasons.INTERRUPTED, message=message)
        )
    else:
        response.state = STATES[state]
    return response
