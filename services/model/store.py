"""The usage ledger's table, and the event `model.usage.recorded` that is sent with each record."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from soma.events.v1.event_pb2 import Event
from soma.model.v1.cost_service_pb2 import UsageRecord
from soma.model.v1.message_pb2 import Usage

from services.mesh.call.call import current_call
from services.mesh.events.outbox import Outbox
from services.mesh.stores.group_commit import GroupCommit

if TYPE_CHECKING:
    import asyncpg

    from services.mesh.stores.postgres import Connection, Database

RECORDED = "model.usage.recorded"

# One statement, so that a record and its event are written together or not at all. If it is repeated after a lost
# connection, there is still one row and one event.
_INSERT = """
    WITH new AS (
        INSERT INTO model.usage (generation_id, tenant_id, subject, model, provider, outcome, error_reason,
            prompt_tokens, completion_tokens, conversation_id, start_time, duration_seconds,
            time_to_first_token_seconds, cached_prompt_tokens, cache_write_prompt_tokens, reasoning_tokens, estimated,
            audio_seconds, images, characters, search_units)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
        ON CONFLICT (tenant_id, generation_id) DO NOTHING RETURNING tenant_id
    )
    INSERT INTO model.outbox (tenant_id, aggregate, event) SELECT tenant_id, tenant_id, $22 FROM new
"""
_LIST = """
    SELECT * FROM model.usage
    WHERE tenant_id = $1 AND ($2 = '' OR conversation_id = $2)
        AND ($3::timestamptz IS NULL OR (start_time, generation_id) < ($3, $4))
    ORDER BY start_time DESC, generation_id DESC LIMIT $5
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record, and the `traceparent` of its call; empty without a trace."""

    record: UsageRecord
    traceparent: str


class UsageStore:
    """Usage records in the schema `model`; records of concurrent calls share transactions.

    Each new record sends an event, in its own transaction.
    """

    def __init__(self, database: "Database", outbox: Outbox) -> None:
        self._tenants = database.tenants
        self._outbox = outbox
        self._commits = GroupCommit(database.system, self._write)

    async def close(self) -> None:
        """Accept no more records, and return when the accepted ones are written."""
        await self._commits.close()

    def write(self, record: UsageRecord) -> asyncio.Future[None]:
        """Begin to write a record; the result is done when it is durable. A repeated record is stored once.

        Its exception is Unavailable if Postgres is unavailable or full, or the store is closed; the record may still be
        durable.
        """
        call = current_call()
        return self._commits.commit(Entry(record, call.trace.traceparent if call is not None and call.trace else ""))

    async def _write(self, connection: "Connection", entries: Sequence[Entry]) -> None:
        await write_usage(connection, entries)
        self._outbox.wake()

    async def list_usage(
        self, tenant_id: str, conversation_id: str, after: tuple[datetime, str] | None, limit: int
    ) -> list[UsageRecord]:
        """At most `limit` records of a tenant, newest first; of one conversation if `conversation_id` is not empty.

        `after` is the time and the id of the generation before them.
        """
        async with self._tenants.connection(tenant_id) as connection:
            rows = await connection.fetch(_LIST, tenant_id, conversation_id, *(after or (None, None)), limit)
        return [_record(row) for row in rows]


async def write_usage(connection: "Connection", entries: Sequence[Entry]) -> None:
    """Write each record and its event once, even if this call is repeated."""
    # Without concurrent calls a batch has one record, for which `executemany` takes half as long again, and arrays of
    # columns take a third longer than that.
    if len(entries) == 1:
        await connection.fetch(_INSERT, *_row(entries[0]))
    else:
        await connection.executemany(_INSERT, [_row(entry) for entry in entries])


def _row(entry: Entry) -> tuple[Any, ...]:
    record, usage = entry.record, entry.record.usage
    return (
        record.generation_id,
        record.tenant_id,
        record.subject,
        record.model,
        record.provider,
        record.outcome,
        record.error_reason,
        usage.prompt_tokens,
        usage.completion_tokens,
        record.conversation_id,
        record.start_time.ToDatetime(tzinfo=UTC),
        record.duration_seconds,
        record.time_to_first_token_seconds,
        usage.cached_prompt_tokens,
        usage.cache_write_prompt_tokens,
        usage.reasoning_tokens,
        usage.estimated,
        usage.audio_seconds,
        usage.images,
        usage.characters,
        usage.search_units,
        usage_event(entry).SerializeToString(),
    )


def usage_event(entry: Entry) -> Event:
    """The event of a record. Its id is the id of the generation, so that a repetition is recognised."""
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


def _record(row: "asyncpg.Record") -> UsageRecord:
    prompt, completion = row["prompt_tokens"], row["completion_tokens"]
    record = UsageRecord(
        generation_id=row["generation_id"],
        tenant_id=row["tenant_id"],
        subject=row["subject"],
        model=row["model"],
        provider=row["provider"],
        outcome=row["outcome"],
        error_reason=row["error_reason"],
        usage=Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            cached_prompt_tokens=row["cached_prompt_tokens"],
            cache_write_prompt_tokens=row["cache_write_prompt_tokens"],
            reasoning_tokens=row["reasoning_tokens"],
            estimated=row["estimated"],
            audio_seconds=row["audio_seconds"],
            images=row["images"],
            characters=row["characters"],
            search_units=row["search_units"],
        ),
        conversation_id=row["conversation_id"],
        duration_seconds=row["duration_seconds"],
        time_to_first_token_seconds=row["time_to_first_token_seconds"],
    )
    record.start_time.FromDatetime(row["start_time"])
    return record
