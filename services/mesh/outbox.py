"""Domain events that cannot be lost: written with the change they tell of, then relayed to a Redis Stream.

A service's first migration makes the table, in its own schema:

    CREATE TABLE <schema>.outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tenant_id text NOT NULL,
        aggregate text NOT NULL,
        event bytea NOT NULL
    );

Delivery is at least once: a crash between Redis and the commit repeats events, and `event_id` tells repetitions apart.
Events of one aggregate keep their order as long as its writers take the aggregate's row before they add an event.
"""

import asyncio
from typing import TYPE_CHECKING

import redis.asyncio as aioredis
from soma.events.v1.event_pb2 import Event

from services.mesh import postgres
from services.mesh import redis as mesh_redis
from services.mesh.jobs import Job

if TYPE_CHECKING:
    from services.mesh.postgres import Connection, Pool

STREAM = "soma:events:"
FIELD = "event"
MAX_LENGTH = 100_000
BATCH = 256
# Events of so many seconds share a transaction, which takes longer than what it tells of.
GATHER_SECONDS = 0.02
# How long an event of another process, or of one that was killed, may lie before it is noticed.
SWEEP_SECONDS = 2.0


class Outbox:
    """The outbox of one schema, and its relay to the stream `soma:events:<area>`.

    A store that writes change and event in one statement needs only `wake` and the job.
    """

    def __init__(self, pool: "Pool", redis: aioredis.Redis, schema: str, area: str | None = None) -> None:
        self._pool = pool
        self._redis = redis
        self._table = f"{schema}.outbox"
        self._stream = STREAM + (area or schema)
        self._woken = asyncio.Event()

    async def add(self, connection: "Connection", aggregate: str, event: Event) -> None:
        """Write an event in the transaction of `connection`; call `wake` once that is committed."""
        await connection.execute(
            f"INSERT INTO {self._table} (tenant_id, aggregate, event) VALUES ($1, $2, $3)",  # noqa: S608 -- our own name
            event.tenant_id,
            aggregate,
            event.SerializeToString(),
        )

    def wake(self) -> None:
        """Have the relay look soon: something was committed."""
        self._woken.set()

    @property
    def job(self) -> Job:
        """The relay, for the jobs of the service: it may run in every process."""
        return Job("outbox", self._relay_batch, wake=self._woken, every=SWEEP_SECONDS, gather=GATHER_SECONDS)

    async def _relay_batch(self) -> bool:
        """Move the oldest events to the stream; whether there may be more.

        One relay at a time, whatever process it is in, or the order would be lost; the others find nothing to do.
        """
        async with postgres.transaction(self._pool) as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))", self._table):
                return False
            rows = await connection.fetch(
                f"SELECT id, event FROM {self._table} ORDER BY id LIMIT {BATCH}"  # noqa: S608 -- our own name
            )
            if rows:
                with mesh_redis.typed_errors():
                    async with self._redis.pipeline(transaction=False) as pipeline:
                        for row in rows:
                            pipeline.xadd(self._stream, {FIELD: row["event"]}, maxlen=MAX_LENGTH, approximate=True)
                        await pipeline.execute()
                ids = [row["id"] for row in rows]
                await connection.execute(f"DELETE FROM {self._table} WHERE id = ANY($1)", ids)  # noqa: S608 -- our own name
            return len(rows) == BATCH
