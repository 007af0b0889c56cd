"""The table of the usage ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from soma.model.v1.cost_service_pb2 import UsageRecord
from soma.model.v1.message_pb2 import Usage

from services.mesh.stores import postgres

if TYPE_CHECKING:
    import asyncpg

    from services.mesh.stores.postgres import Connection, Pool

# One statement, so that a record and its event are written together or not at all. If it is repeated after a lost
# connection, there is still one row and one event.
_INSERT = """
    WITH given AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::text[],
            $8::integer[], $9::integer[], $10::text[], $11::timestamptz[], $12::float8[], $13::float8[], $14::bytea[])
            AS given (generation_id, tenant_id, subject, model, provider, outcome, error_reason, prompt_tokens,
                completion_tokens, conversation_id, start_time, duration_seconds, time_to_first_token_seconds, event)
    ), new AS (
        INSERT INTO model.usage (generation_id, tenant_id, subject, model, provider, outcome, error_reason,
            prompt_tokens, completion_tokens, conversation_id, start_time, duration_seconds,
            time_to_first_token_seconds)
        SELECT generation_id, tenant_id, subject, model, provider, outcome, error_reason, prompt_tokens,
            completion_tokens, conversation_id, start_time, duration_seconds, time_to_first_token_seconds FROM given
        ON CONFLICT (generation_id) DO NOTHING RETURNING generation_id
    )
    INSERT INTO model.outbox (tenant_id, aggregate, event)
    SELECT tenant_id, tenant_id, event FROM given JOIN new USING (generation_id)
"""
_LIST = """
    SELECT * FROM model.usage
    WHERE tenant_id = $1 AND ($2 = '' OR conversation_id = $2)
        AND ($3::timestamptz IS NULL OR (start_time, generation_id) < ($3, $4))
    ORDER BY start_time DESC, generation_id DESC LIMIT $5
"""


@dataclass(frozen=True, slots=True)
class PageStart:
    """The start of a page of the ledger: it comes after this row."""

    start_time: datetime
    generation_id: str


class UsageStore(Protocol):
    """Reads the ledger."""

    async def list_usage(
        self, tenant_id: str, conversation_id: str, after: PageStart | None, limit: int
    ) -> list[UsageRecord]:
        """At most `limit` records of a tenant, newest first; of one conversation if `conversation_id` is not empty."""
        ...


class PostgresUsageStore:
    """A UsageStore in the schema `model`."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    async def list_usage(
        self, tenant_id: str, conversation_id: str, after: PageStart | None, limit: int
    ) -> list[UsageRecord]:
        start, generation = (after.start_time, after.generation_id) if after else (None, "")
        async with postgres.connection(self._pool) as connection:
            rows = await connection.fetch(_LIST, tenant_id, conversation_id, start, generation, limit)
        return [_record(row) for row in rows]


async def insert_usage(connection: "Connection", records: Sequence[UsageRecord], events: Sequence[bytes]) -> None:
    """Write records, and the event of each new record (a serialised `soma.events.v1.Event`)."""
    await connection.execute(
        _INSERT,
        [record.generation_id for record in records],
        [record.tenant_id for record in records],
        [record.subject for record in records],
        [record.model for record in records],
        [record.provider for record in records],
        [record.outcome for record in records],
        [record.error_reason for record in records],
        [record.usage.prompt_tokens for record in records],
        [record.usage.completion_tokens for record in records],
        [record.conversation_id for record in records],
        [record.start_time.ToDatetime(tzinfo=UTC) for record in records],
        [record.duration_seconds for record in records],
        [record.time_to_first_token_seconds for record in records],
        events,
    )


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
        usage=Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion),
        conversation_id=row["conversation_id"],
        duration_seconds=row["duration_seconds"],
        time_to_first_token_seconds=row["time_to_first_token_seconds"],
    )
    record.start_time.FromDatetime(row["start_time"])
    return record
