"""The events of responses that are made in the background, kept until their response is forgotten."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from soma.orchestrator.v1.response_service_pb2 import CreateResponseResponse, WatchResponseResponse

from services.mesh.stores.group_commit import GroupCommit
from services.mesh.stores.postgres import connection
from services.mesh.watching.rows import RowSequences

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, Pool

# What of a response's events is worth keeping: its end is in the response itself.
KEPT = frozenset({"created", "item_begun", "delta", "arguments", "item_done"})
_MOST = 1000

_Row: TypeAlias = tuple[str, int, bytes]


class ResponseEvents(Protocol):
    """Keeps events of responses."""

    async def add(self, response_id: str, event: CreateResponseResponse) -> None:
        """Keep an event; returns once it is durable, or its response is deleted."""

    async def since(self, response_id: str, sequence: int) -> list[WatchResponseResponse]:
        """The next events from a sequence on, in order; not necessarily all there are."""


# Of a response that is deleted meanwhile nobody can ask: its events are dropped.
INSERT = """
    WITH kept AS (SELECT response_id FROM orchestrator.response WHERE response_id = $1 FOR KEY SHARE)
    INSERT INTO orchestrator.response_event (response_id, sequence, event)
    SELECT response_id, $2::integer, $3::bytea FROM kept ON CONFLICT (response_id, sequence) DO NOTHING
"""
SINCE = """
    SELECT event FROM orchestrator.response_event WHERE response_id = $1 AND sequence >= $2 ORDER BY sequence LIMIT $3
"""


class PostgresResponseEvents:
    """`ResponseEvents` in the schema `orchestrator`; events of concurrent responses share a transaction."""

    def __init__(self, pool: "Pool", sequences: RowSequences) -> None:
        self._pool = pool
        self._sequences = sequences
        self._commit: GroupCommit[_Row] = GroupCommit(pool, self._insert)

    async def add(self, response_id: str, event: CreateResponseResponse) -> None:
        """See `ResponseEvents`."""
        await self._commit.commit((response_id, event.sequence, event.SerializeToString()))

    async def since(self, response_id: str, sequence: int) -> list[WatchResponseResponse]:
        """See `ResponseEvents`."""
        async with connection(self._pool) as acquired:
            rows = await acquired.fetch(SINCE, response_id, sequence, _MOST)
        return [WatchResponseResponse.FromString(row[0]) for row in rows]

    async def close(self) -> None:
        """Write what is queued and stop."""
        await self._commit.close()

    async def _insert(self, connection: "Connection", rows: Sequence[_Row]) -> None:
        await connection.executemany(INSERT, rows)
        self._sequences.appended(*{row[0] for row in rows})
