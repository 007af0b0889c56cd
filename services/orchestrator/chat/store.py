"""Turns on their way to memory, in Postgres."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from services.mesh.call.principal import Principal
from services.mesh.stores.group_commit import GroupCommit
from services.mesh.stores.postgres import connection, ping, transaction

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, Pool


@dataclass(frozen=True, slots=True)
class PendingTurn:
    """One finished turn: whose, of which conversation, and the serialised AppendMessagesRequest."""

    request_id: str
    principal: Principal
    conversation_id: str
    request: bytes


class PendingTurns(Protocol):
    """Keeps finished turns until memory has them."""

    async def put(self, turn: PendingTurn) -> None:
        """Return once the turn is durable."""

    async def check(self) -> None:
        """Raise Unavailable while no turn could be put."""

    async def of(self, tenant_id: str, conversation_id: str) -> list[PendingTurn]:
        """The turns of one conversation, oldest first."""

    def left_behind(self, older_than: float, limit: int) -> AbstractAsyncContextManager[list[PendingTurn]]:
        """The oldest turns of all conversations that have waited `older_than` seconds; none while another has them."""

    async def done(self, request_id: str) -> None:
        """Forget a turn that memory has."""


INSERT = """
    INSERT INTO orchestrator.pending_turn (request_id, tenant_id, conversation_id, subject, scopes, request)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (request_id) DO NOTHING
"""
OF_CONVERSATION = """
    SELECT request_id::text, tenant_id, conversation_id, subject, scopes, request FROM orchestrator.pending_turn
    WHERE tenant_id = $1 AND conversation_id = $2 ORDER BY id
"""
LEFT_BEHIND = """
    SELECT request_id::text, tenant_id, conversation_id, subject, scopes, request FROM orchestrator.pending_turn
    WHERE create_time <= now() - make_interval(secs => $1) ORDER BY id LIMIT $2
"""
# Held to the end of the transaction, so that a killed process lets go of it.
TAKE_TURN = "SELECT pg_try_advisory_xact_lock(hashtextextended('orchestrator.pending_turn', 0))"
DELETE = "DELETE FROM orchestrator.pending_turn WHERE request_id = $1"


class PostgresPendingTurns:
    """`PendingTurns` in the schema `orchestrator`; concurrent turns share a transaction."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._commit: GroupCommit[PendingTurn] = GroupCommit(pool, _insert)

    async def put(self, turn: PendingTurn) -> None:
        """See `PendingTurns`."""
        await self._commit.commit(turn)

    async def check(self) -> None:
        """See `PendingTurns`."""
        await ping(self._pool)

    async def of(self, tenant_id: str, conversation_id: str) -> list[PendingTurn]:
        """See `PendingTurns`."""
        async with connection(self._pool) as acquired:
            return [_turn(tuple(row)) for row in await acquired.fetch(OF_CONVERSATION, tenant_id, conversation_id)]

    @asynccontextmanager
    async def left_behind(self, older_than: float, limit: int) -> AsyncIterator[list[PendingTurn]]:
        """See `PendingTurns`."""
        async with transaction(self._pool) as acquired:
            mine = await acquired.fetchval(TAKE_TURN)
            rows = await acquired.fetch(LEFT_BEHIND, older_than, limit) if mine else []
            yield [_turn(tuple(row)) for row in rows]

    async def done(self, request_id: str) -> None:
        """See `PendingTurns`."""
        async with connection(self._pool) as acquired:
            await acquired.execute(DELETE, request_id)

    async def close(self) -> None:
        """Write what is queued and stop."""
        await self._commit.close()


async def _insert(connection: "Connection", turns: Sequence[PendingTurn]) -> None:
    await connection.executemany(
        INSERT,
        [
            (
                turn.request_id,
                turn.principal.tenant_id,
                turn.conversation_id,
                turn.principal.subject,
                sorted(turn.principal.scopes),
                turn.request,
            )
            for turn in turns
        ],
    )


def _turn(row: tuple[str, str, str, str, list[str], bytes]) -> PendingTurn:
    request_id, tenant_id, conversation_id, subject, scopes, request = row
    return PendingTurn(request_id, Principal(tenant_id, subject, scopes=frozenset(scopes)), conversation_id, request)
