"""The outbox of a service: its events, written in the transaction of the change they tell of.

The table is in the service's own schema. `migrate` makes it for each service that declares what it sends; no service
writes it into its migrations. A row waits until the relay has added it to the stream. Where the stream has consumers it
then has its place there, and is kept until all of them have handled it.

Events of one aggregate keep their order as long as its writers take the aggregate's row before they add an event.
"""

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

from soma.events.v1.event_pb2 import Event

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection

# `consumer` has the only one an event is for, where it is replayed; `added_ms` and `added_number` are its id in the
# stream.
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
# Made last.
_MADE = "{schema}.outbox_added"


class Outbox:
    """The outbox of one service, for the types of events that it declares.

    A store that writes change and event in one statement needs only `wake`.
    """

    def __init__(self, service: str, sends: Collection[str]) -> None:
        self.area = service
        self.woken = asyncio.Event()
        self._sends = frozenset(sends)
        self._add = f"INSERT INTO {service}.outbox (tenant_id, aggregate, event) VALUES ($1, $2, $3)"  # noqa: S608 -- our own name

    async def add(self, connection: "Connection", aggregate: str, event: Event) -> None:
        """Write an event in the transaction of `connection`; call `wake` once that is committed.

        Raises:
            ValueError: the service does not declare that it sends events of this type.
        """
        if event.type not in self._sends:
            raise ValueError(f"{self.area} sends {event.type!r}, and its declaration names no such event")
        await connection.execute(self._add, event.tenant_id, aggregate, event.SerializeToString())

    def wake(self) -> None:
        """Have the relay look soon: something was committed."""
        self.woken.set()


async def outbox_missing(connection: "Connection", schema: str) -> bool:
    """Whether the outbox of a schema has to be made, or brought up to what the relay expects."""
    return await connection.fetchval("SELECT to_regclass($1)", _MADE.format(schema=schema)) is None


async def make_outbox(connection: "Connection", schema: str) -> None:
    """Make the outbox of a schema; one of an earlier version keeps its rows. To repeat it changes nothing."""
    await connection.execute(_MAKE.format(schema=schema))
