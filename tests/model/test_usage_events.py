"""Each generation has one event, written together with its record or not at all."""

import uuid
from typing import TYPE_CHECKING, Any, cast

import redis.asyncio as aioredis
from soma.events.v1.event_pb2 import Event
from soma.model.v1.cost_service_pb2 import UsageRecord

from services.mesh.events.outbox import Outbox
from services.mesh.events.relay import Relay
from services.mesh.events.stream import FIELD
from services.mesh.testing.jobs import running
from services.mesh.testing.waiting import until
from services.model.main import SERVICE
from services.model.store import RECORDED, Entry, write_usage

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def entry() -> Entry:
    """A record of a new generation."""
    record = UsageRecord(
        generation_id=uuid.uuid4().hex,
        tenant_id="acme",
        subject="alex",
        model="m",
        provider="local",
        outcome=UsageRecord.OUTCOME_FINISHED,
    )
    record.start_time.GetCurrentTime()
    return Entry(record, TRACEPARENT)


async def write(pool: "OwnedDatabase", outbox: Outbox, *entries: Entry) -> None:
    """Write entries in one transaction."""
    async with pool.system.transaction() as connection:
        await write_usage(connection, entries)
    outbox.wake()


async def test_the_event_of_a_generation_has_its_record_and_trace(
    database: "OwnedDatabase", redis: aioredis.Redis
) -> None:
    outbox = Outbox("model", SERVICE.sends)
    written = entry()
    async with running(*Relay(database.system, redis, outbox).jobs):
        await write(database, outbox, written)
        await until(lambda: redis.xlen("soma:events:model"))
    ((_, fields),) = cast("Any", await redis.xrange("soma:events:model"))
    event = Event.FromString(fields[FIELD.encode()])
    payload = UsageRecord()
    assert event.payload.Unpack(payload)
    assert payload == written.record
    assert (event.type, event.tenant_id, event.traceparent) == (RECORDED, "acme", TRACEPARENT)
    assert uuid.UUID(event.event_id).hex == written.record.generation_id


async def test_a_record_written_twice_has_one_event(database: "OwnedDatabase") -> None:
    outbox = Outbox("model", SERVICE.sends)
    first, second = entry(), entry()
    await write(database, outbox, first)
    await write(database, outbox, first, second)
    assert await database.fetchval("SELECT count(*) FROM model.outbox") == 2
