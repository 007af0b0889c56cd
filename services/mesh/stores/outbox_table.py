"""The table of events in the schema of a service that sends them; `services.mesh.events.outbox` writes its rows."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection

# `consumer` is set for an event that is replayed: it is for that consumer alone. `added_ms` and `added_number` are the
# event's id in the stream.
_MAKE = """
    CREATE TABLE IF NOT EXISTS {schema}.outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tenant_id text NOT NULL,
        aggregate text NOT NULL,
        event bytea NOT NULL
    );
    ALTER TABLE {schema}.outbox
        ADD COLUMN IF NOT EXISTS consumer text,
        ADD COLUMN IF NOT EXISTS added_ms bigint,
        ADD COLUMN IF NOT EXISTS added_number bigint;
    CREATE INDEX IF NOT EXISTS outbox_waiting ON {schema}.outbox (id) WHERE added_ms IS NULL;
    CREATE INDEX IF NOT EXISTS outbox_added ON {schema}.outbox (added_ms, added_number) WHERE added_ms IS NOT NULL;
"""
# The object that is made last.
_MADE = "{schema}.outbox_added"


async def outbox_missing(connection: "Connection", schema: str) -> bool:
    """Whether the outbox of a schema has to be made, or brought to the version that the relay expects."""
    return await connection.fetchval("SELECT to_regclass($1)", _MADE.format(schema=schema)) is None


async def make_outbox(connection: "Connection", schema: str) -> None:
    """Make the outbox of a schema; an outbox of an earlier version keeps its rows. To repeat this changes nothing."""
    await connection.execute(_MAKE.format(schema=schema))
