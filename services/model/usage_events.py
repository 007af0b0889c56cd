"""Tells the rest of the mesh of each generation: `model.usage.recorded`, in the transaction of its record."""

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
    """A record and the `traceparent` of the call it was made in, empty outside a trace."""

    record: UsageRecord
    traceparent: str


async def write_usage(connection: "Connection", entries: Sequence[Entry]) -> None:
    """Write each record and its event once, however often it is asked; what `GroupCommit` runs."""
    records = [entry.record for entry in entries]
    await insert_usage(connection, records, [recorded(entry).SerializeToString() for entry in entries])


def recorded(entry: Entry) -> Event:
    """The event of a record; it bears the generation's own id, so that a repetition is known."""
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
