"""The event `model.usage.recorded`: one for each generation, written in the transaction of its record."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from soma.events.v1.event_pb2 import Event
from soma.model.v1.cost_service_pb2 import UsageRecord

from services.model.store import insert_usage

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection

RECORDED = "model.usage.recorded"


@dataclass(frozen=True, slots=True)
class Entry:
    """A record, and the `traceparent` of its call; empty without a trace."""

    record: UsageRecord
    traceparent: str


async def write_usage(connection: "Connection", entries: Sequence[Entry]) -> None:
    """Write each record and its event once, also when this is repeated. `GroupCommit` calls it."""
    records = [entry.record for entry in entries]
    await insert_usage(connection, records, [usage_event(entry).SerializeToString() for entry in entries])


def usage_event(entry: Entry) -> Event:
    """The event of a record. It has the id of the generation, so that a repetition is recognised."""
    record = entry.record
    event = Event(
        event_id=str(uuid.UUID(record.generation_id)),
        type=RECORDED,
        tenant_id=record.tenant_id,
        traceparent=entry.traceparent,
    )
    event.occur_time.CopyFrom(record.start_time)
    event.payload.Pack(record)
    return event
