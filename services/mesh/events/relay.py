"""Moves events from an outbox to the stream of its area, and deletes them behind the slowest consumer.

Events are added to the stream at least once: a crash between Redis and the commit repeats them. If Redis has lost its
data, the relay adds again what a consumer has not handled. Consumers recognise repetitions by `event_id`.
"""

from typing import TYPE_CHECKING

import redis.asyncio as aioredis
import structlog
from prometheus_client import Gauge

from services.mesh.events import groups
from services.mesh.events.outbox import Outbox
from services.mesh.events.stream import Added, EventStream, Row
from services.mesh.process.jobs import Job
from services.mesh.stores.stream_position import BEGINNING, Position

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, SystemPool

log = structlog.get_logger("events")

BATCH = 256
# Events of this many seconds share a transaction of the relay, which takes longer than the one that wrote an event.
GATHER_SECONDS = 0.02
# While events come without end, a transaction begins after this many seconds.
APART_SECONDS = 0.1
# How long an event of another process, or of one that was killed, may wait before the relay finds it.
SWEEP_SECONDS = 2.0
TRIM_SECONDS = 5.0

# One row at least: the columns of `waiting` are NULL when nothing waits. `min(id)` reads the index in its order, which
# marks entries of deleted rows so that later scans skip them. Without it Postgres reads all of them for each batch.
_READ = """
    SELECT waiting.id, waiting.tenant_id, waiting.event, waiting.consumer, newest.added_ms, newest.added_number,
        EXISTS (SELECT FROM mesh.event_group WHERE area = $1 AND NOT retired) AS consumed
    FROM (SELECT) AS one
    LEFT JOIN (
        SELECT added_ms, added_number FROM {table} WHERE added_ms IS NOT NULL
        ORDER BY added_ms DESC, added_number DESC LIMIT 1
    ) AS newest ON true
    LEFT JOIN (
        SELECT id, tenant_id, event, consumer FROM {table}
        WHERE added_ms IS NULL AND id >= (SELECT min(id) FROM {table} WHERE added_ms IS NULL)
        ORDER BY id LIMIT {most}
    ) AS waiting ON true
    ORDER BY waiting.id
"""

_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"
# The index has only rows with a place, and Postgres does not see by itself that the comparison leaves out the others.
_ADD_AGAIN = """
    UPDATE {table} SET added_ms = NULL, added_number = NULL
    WHERE added_ms IS NOT NULL AND (added_ms, added_number) > ($1, $2)
"""
_DELETE = "DELETE FROM {table} WHERE id = ANY($1)"
_PLACE = """
    UPDATE {table} AS kept SET added_ms = place.ms, added_number = place.number
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS place (id, ms, number) WHERE kept.id = place.id
"""
WAITING = "SELECT count(*) FROM {table} WHERE added_ms IS NULL"
_TRIM_ALL = "DELETE FROM {table} WHERE added_ms IS NOT NULL"
_TRIM = "DELETE FROM {table} WHERE added_ms IS NOT NULL AND (added_ms, added_number) < ($1, $2)"

_LAG = Gauge(
    "soma_events_lag", "Events a consumer has not handled yet, as the sender's process sees them", ("stream", "group")
)


class Relay:
    """The relay of one outbox; it may run in every process, but only one works at a time."""

    def __init__(self, pool: "SystemPool", client: aioredis.Redis, outbox: Outbox) -> None:
        self._pool = pool
        self._outbox = outbox
        self._area = outbox.area
        self._table = f"{outbox.area}.outbox"
        self._stream = EventStream(client, outbox.area)
        self._read = _READ.format(table=self._table, most=BATCH)

    @property
    def jobs(self) -> tuple[Job, Job]:
        """One job that relays events, and one that deletes events that are handled."""
        return (
            Job(
                "outbox",
                self._relay_batch,
                wake=self._outbox.woken,
                every=SWEEP_SECONDS,
                gather=GATHER_SECONDS,
                apart=APART_SECONDS,
            ),
            Job("outbox_trim", self._trim, every=TRIM_SECONDS),
        )

    async def _relay_batch(self) -> bool:
        """Add the oldest events to the stream; returns whether there may be more.

        Only one relay of all processes works at a time, to keep the order; the others return at once.
        """
        async with self._pool.transaction() as connection:
            if not await connection.fetchval(_LOCK, self._table):
                return False
            consumed, newest, rows = await self._waiting(connection)
            if not rows and newest is None:
                return False
            added = await self._stream.add(newest or BEGINNING, rows, consumed=consumed)
            if added.lost is not None:
                await self._add_again(connection, added.lost)
                return True
            if rows:
                await self._settle(connection, rows, added, keep=consumed or added.groups)
            return len(rows) == BATCH

    async def _waiting(self, connection: "Connection") -> tuple[bool, Position | None, list[Row]]:
        """Whether the area has consumers, the newest place in the stream that a row has, and the rows that wait.

        One statement, because it runs for every batch; not the one that takes the lock, which would read the rows as
        they were before the relay that had the lock committed.
        """
        found = await connection.fetch(self._read, self._area)
        first = found[0]
        newest = (first["added_ms"], first["added_number"]) if first["added_ms"] is not None else None
        rows = [
            Row(row["id"], row["tenant_id"], row["event"], row["consumer"] or "")
            for row in found
            if row["id"] is not None
        ]
        return first["consumed"], newest, rows

    async def _add_again(self, connection: "Connection", known: Position) -> None:
        """Have events with a position after `known` wait again, because the stream no longer has them."""
        count = await connection.execute(self._about(_ADD_AGAIN), *known)
        log.warning("redis has lost events, they are added again", stream=self._stream.name, rows=count.split()[-1])

    async def _settle(self, connection: "Connection", rows: list[Row], added: Added, *, keep: bool) -> None:
        ids = [row.id for row in rows]
        if not keep:
            await connection.execute(self._about(_DELETE), ids)
            return
        milliseconds, numbers = zip(*added.positions, strict=True)
        await connection.execute(self._about(_PLACE), ids, milliseconds, numbers)

    async def _trim(self) -> None:
        """Delete events that every consumer has handled, from the outbox and from the stream."""
        async with self._pool.connection() as connection:
            for former in await groups.retired(connection, self._area):
                await self._stream.destroy_group(former)
                await groups.forget(connection, former, self._area)
            found = await self._stream.groups(await groups.registered(connection, self._area))
            waiting = await connection.fetchval(self._about(WAITING))
            for group in found:
                _LAG.labels(self._stream.name, group.name).set(group.unread + group.pending + waiting)
            if not found:
                await connection.execute(self._about(_TRIM_ALL))
                return
            bound = min(group.bound for group in found)
            await connection.execute(self._about(_TRIM), *bound)
        await self._stream.trim(bound)

    def _about(self, statement: str) -> str:
        """A statement about the outbox of this relay."""
        return statement.format(table=self._table)
