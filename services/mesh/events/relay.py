"""Moves events from an outbox to the stream of its area, and deletes them behind the slowest consumer.

Delivery into the stream is at least once: a crash between Redis and the commit repeats events, and so does a Redis that
has lost its data, to which the relay adds again what a consumer has not handled. `event_id` tells repetitions apart.
"""

from typing import TYPE_CHECKING

import redis.asyncio as aioredis
import structlog
from prometheus_client import Gauge

from services.mesh.events import groups
from services.mesh.events.outbox import Outbox
from services.mesh.events.stream import Added, EventStream, Row
from services.mesh.process.jobs import Job
from services.mesh.stores import postgres
from services.mesh.stores.stream_position import BEGINNING, Position

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, Pool

log = structlog.get_logger("events")

BATCH = 256
# Events of so many seconds share a transaction, which takes longer than what it tells of.
GATHER_SECONDS = 0.02
# How long an event of another process, or of one that was killed, may lie before it is noticed.
SWEEP_SECONDS = 2.0
TRIM_SECONDS = 5.0

_LAG = Gauge(
    "soma_events_lag", "Events a consumer has not handled yet, as the sender's process sees them", ("stream", "group")
)


class Relay:
    """The relay of one outbox; it may run in every process, and one at a time works."""

    def __init__(self, pool: "Pool", client: aioredis.Redis, outbox: Outbox) -> None:
        self._pool = pool
        self._outbox = outbox
        self._area = outbox.area
        self._table = f"{outbox.area}.outbox"
        self._stream = EventStream(client, outbox.area)

    @property
    def jobs(self) -> tuple[Job, Job]:
        """The relay itself, and what deletes events that are handled."""
        return (
            Job("outbox", self._relay_batch, wake=self._outbox.woken, every=SWEEP_SECONDS, gather=GATHER_SECONDS),
            Job("outbox_trim", self._trim, every=TRIM_SECONDS),
        )

    async def _relay_batch(self) -> bool:
        """Add the oldest events to the stream; whether there may be more.

        One relay at a time, whatever process it is in, or the order would be lost; the others find nothing to do.
        """
        async with postgres.transaction(self._pool) as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))", self._table):
                return False
            rows = await self._waiting(connection)
            newest = await self._newest(connection)
            if not rows and newest is None:
                return False
            consumed = bool(await groups.registered(connection, self._area))
            added = await self._stream.add(newest or BEGINNING, rows, consumed=consumed)
            if added.lost is not None:
                await self._add_again(connection, added.lost)
                return True
            if rows:
                await self._settle(connection, rows, added, keep=consumed or added.groups)
            return len(rows) == BATCH

    async def _waiting(self, connection: "Connection") -> list[Row]:
        found = await connection.fetch(
            f"SELECT id, tenant_id, event, consumer FROM {self._table} WHERE added_ms IS NULL "  # noqa: S608 -- our own name
            f"ORDER BY id LIMIT {BATCH}"
        )
        return [Row(row["id"], row["tenant_id"], row["event"], row["consumer"] or "") for row in found]

    async def _newest(self, connection: "Connection") -> Position | None:
        row = await connection.fetchrow(
            f"SELECT added_ms, added_number FROM {self._table} WHERE added_ms IS NOT NULL "  # noqa: S608 -- our own name
            "ORDER BY added_ms DESC, added_number DESC LIMIT 1"
        )
        return (row["added_ms"], row["added_number"]) if row is not None else None

    async def _add_again(self, connection: "Connection", known: Position) -> None:
        """What has a place behind `known` is in the stream no more: it waits again."""
        count = await connection.execute(
            f"UPDATE {self._table} SET added_ms = NULL, added_number = NULL "  # noqa: S608 -- our own name
            "WHERE (added_ms, added_number) > ($1, $2)",
            *known,
        )
        log.warning("redis has lost events, they are added again", stream=self._stream.name, rows=count.split()[-1])

    async def _settle(self, connection: "Connection", rows: list[Row], added: Added, *, keep: bool) -> None:
        ids = [row.id for row in rows]
        if not keep:
            await connection.execute(f"DELETE FROM {self._table} WHERE id = ANY($1)", ids)  # noqa: S608 -- our own name
            return
        milliseconds, numbers = zip(*added.places, strict=True)
        await connection.execute(
            f"UPDATE {self._table} AS kept SET added_ms = place.ms, added_number = place.number "  # noqa: S608 -- our own name
            "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS place (id, ms, number) WHERE kept.id = place.id",
            ids,
            milliseconds,
            numbers,
        )

    async def _trim(self) -> None:
        """Delete what every consumer has handled, from the outbox and from the stream."""
        async with postgres.connection(self._pool) as connection:
            for former in await groups.retired(connection, self._area):
                await self._stream.destroy_group(former)
                await groups.forget(connection, former, self._area)
            found = await self._stream.groups(await groups.registered(connection, self._area))
            waiting = await connection.fetchval(f"SELECT count(*) FROM {self._table} WHERE added_ms IS NULL")  # noqa: S608 -- our own name
            for group in found:
                _LAG.labels(self._stream.name, group.name).set(group.unread + group.pending + waiting)
            if not found:
                await connection.execute(f"DELETE FROM {self._table} WHERE added_ms IS NOT NULL")  # noqa: S608 -- our own name
                return
            bound = min(group.bound for group in found)
            await connection.execute(
                f"DELETE FROM {self._table} WHERE (added_ms, added_number) < ($1, $2)",  # noqa: S608 -- our own name
                *bound,
            )
        await self._stream.trim(bound)
