"""Finished turns that memory does not have yet, in Postgres."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from soma.memory.v1.memory_service_pb2 import AppendMessagesRequest

from services.mesh.blobs.blobs import Blobs
from services.mesh.call.principal import Principal
from services.mesh.stores.group_commit import GroupCommit
from services.mesh.stores.postgres import ping
from services.orchestrator.media import hashes_of

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, Database


@dataclass(frozen=True, slots=True)
class PendingTurn:
    """One finished turn: its principal, its conversation, and the serialised AppendMessagesRequest.

    `hashes` are those of the bytes that its messages refer to.
    """

    request_id: str
    principal: Principal
    conversation_id: str
    request: bytes
    hashes: frozenset[str] = frozenset()

    @property
    def owner(self) -> str:
        """The name under which the bytes of the turn are kept until memory has the turn."""
        return f"turn:{self.request_id}"


INSERT = """
    INSERT INTO orchestrator.pending_turn (request_id, tenant_id, conversation_id, subject, scopes, request)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, request_id) DO NOTHING
"""
OF_CONVERSATION = """
    SELECT request_id::text, tenant_id, conversation_id, subject, scopes, request FROM orchestrator.pending_turn
    WHERE tenant_id = $1 AND conversation_id = $2 ORDER BY id
"""
LEFT_BEHIND = """
    SELECT request_id::text, tenant_id, conversation_id, subject, scopes, request FROM orchestrator.pending_turn
    WHERE create_time <= now() - make_interval(secs => $1) ORDER BY id LIMIT $2
"""
# The lock ends with the transaction, also when its process is killed.
TAKE_TURN = "SELECT pg_try_advisory_xact_lock(hashtextextended('orchestrator.pending_turn', 0))"
DELETE = "DELETE FROM orchestrator.pending_turn WHERE tenant_id = $1 AND request_id = $2"


class PostgresPendingTurns:
    """Keeps finished turns and the bytes they refer to until memory has them. Concurrent turns share a transaction."""

    def __init__(self, database: "Database", blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs
        self._commit: GroupCommit[PendingTurn] = GroupCommit(database.system, _insert)

    async def put(self, turn: PendingTurn) -> None:
        """Store a turn; returns once it is durable."""
        if not turn.hashes:
            await self._commit.commit(turn)
            return
        # Bytes may have to be written first, and other turns do not wait for that.
        async with self._database.tenants.transaction(turn.principal.tenant_id) as acquired:
            await _insert(acquired, [turn])
            await self._blobs.keep(acquired, turn.principal.tenant_id, turn.owner, turn.hashes)

    async def check(self) -> None:
        """Check that a turn can be stored.

        Raises:
            Unavailable: it cannot.
        """
        await ping(self._database)

    async def of(self, tenant_id: str, conversation_id: str) -> list[PendingTurn]:
        """The pending turns of one conversation, oldest first."""
        async with self._database.tenants.connection(tenant_id) as acquired:
            return [_turn(tuple(row)) for row in await acquired.fetch(OF_CONVERSATION, tenant_id, conversation_id)]

    @asynccontextmanager
    async def left_behind(self, older_than: float, limit: int) -> AsyncIterator[list[PendingTurn]]:
        """The oldest turns that have been pending for `older_than` seconds; none while another process has them."""
        async with self._database.system.transaction() as acquired:
            mine = await acquired.fetchval(TAKE_TURN)
            rows = await acquired.fetch(LEFT_BEHIND, older_than, limit) if mine else []
            yield [_turn(tuple(row)) for row in rows]

    async def done(self, turn: PendingTurn) -> None:
        """Delete a turn that memory has."""
        tenants, tenant_id = self._database.tenants, turn.principal.tenant_id
        if not turn.hashes:
            async with tenants.connection(tenant_id) as acquired:
                await acquired.execute(DELETE, tenant_id, turn.request_id)
            return
        async with tenants.transaction(tenant_id) as acquired:
            await acquired.execute(DELETE, tenant_id, turn.request_id)
            await self._blobs.release(acquired, tenant_id, turn.owner)

    async def close(self) -> None:
        """Write the queued turns and stop."""
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
    hashes = hashes_of(AppendMessagesRequest.FromString(request).messages)
    principal = Principal(tenant_id, subject, scopes=frozenset(scopes))
    return PendingTurn(request_id, principal, conversation_id, request, frozenset(hashes))
