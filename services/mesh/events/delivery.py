"""The state of each event at one consumer, in Postgres: handled, failed a number of times, or given up."""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

from soma.errors.v1 import reasons
from soma.events.v1.event_pb2 import Event

from services.mesh.call import errors
from services.mesh.events.stream import Entry
from services.mesh.stores import postgres

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, Database

ATTEMPTS = 5
# A Redis that is restored from a snapshot may have events again that were handled within this many days.
KEPT_DAYS = 7
_MOST_OF_AN_ERROR = 2000
_AWAY = (errors.Code.UNAVAILABLE, errors.Code.DEADLINE_EXCEEDED)

_HANDLED = """
    INSERT INTO mesh.consumed AS known (consumer, event_id, area, outbox_id, handle_time)
    VALUES ($1, $2, $3, $4, clock_timestamp())
    ON CONFLICT (consumer, event_id) DO UPDATE SET handle_time = clock_timestamp(), outbox_id = excluded.outbox_id
        WHERE known.handle_time IS NULL
    RETURNING attempts
"""
_FAILED = """
    INSERT INTO mesh.consumed AS known (consumer, event_id, area, outbox_id, attempts) VALUES ($1, $2, $3, $4, 1)
    ON CONFLICT (consumer, event_id) DO UPDATE SET attempts = known.attempts + 1 WHERE known.handle_time IS NULL
    RETURNING attempts
"""
_GIVEN_UP = """
    INSERT INTO mesh.dead_letter AS known (tenant_id, consumer, area, type, event_id, event, reason, error, attempts)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (tenant_id, consumer, event_id) DO UPDATE SET reason = excluded.reason, error = excluded.error,
        attempts = excluded.attempts, state = 'dead', create_time = now(), handle_time = NULL
"""
_REPLAYED = """
    UPDATE mesh.dead_letter SET state = 'handled', handle_time = now()
    WHERE tenant_id = $1 AND consumer = $2 AND event_id = $3 AND state = 'replaying'
"""
# An event whose row is still in the outbox may be added to the stream again.
_PRUNE = """
    DELETE FROM mesh.consumed WHERE consumer = $1 AND area = $2 AND handle_time < now() - make_interval(days => $3)
        AND outbox_id < coalesce((SELECT min(id) FROM {area}.outbox), 9223372036854775807)
"""
_PRUNE_LETTERS = """
    DELETE FROM mesh.dead_letter
    WHERE consumer = $1 AND area = $2 AND state = 'handled' AND handle_time < now() - make_interval(days => $3)
"""


class HandlerFailed(Exception):
    """A handler failed, and not because something is away; `why` is what it raised."""

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why


class Deliveries:
    """The events of one area at one consumer."""

    def __init__(self, database: "Database", consumer: str, area: str) -> None:
        self._tenants = database.tenants
        self._system = database.system
        self._consumer = consumer
        self._area = area

    async def handle(
        self,
        entry: Entry,
        event: Event,
        handler: "Callable[[Connection, Event], Awaitable[None]]",
        seconds: float,
    ) -> bool:
        """Run the handler unless the event is handled already; returns whether it was run.

        Raises:
            HandlerFailed: the handler failed, and what it wrote is rolled back.
            MeshError: Postgres is away, or something that the handler needs.
        """
        async with self._tenants.transaction(event.tenant_id) as connection:
            mark = (self._consumer, event.event_id, self._area, entry.row)
            # Another process with the same event waits here until this transaction has ended.
            first = await connection.fetchval(_HANDLED, *mark) is not None
            if first:
                await _run(handler, connection, event, seconds)
                # If the handler caught an error of Postgres, the transaction has failed, and a commit would roll back
                # everything, also the mark, without an error. This statement raises one.
                await connection.execute("SELECT")
            if entry.consumer:
                await connection.execute(_REPLAYED, event.tenant_id, self._consumer, event.event_id)
        return first

    async def fail(self, entry: Entry, event: Event, why: Exception) -> bool:
        """Count a failure; returns whether nothing is left to do: the event is given up, or was handled by another.

        Raises:
            Unavailable: the failure cannot be counted now.
        """
        mark = (self._consumer, event.event_id, self._area, entry.row)
        async with self._tenants.transaction(event.tenant_id) as connection:
            attempts = await connection.fetchval(_FAILED, *mark)
            if attempts is None:
                return True
            if attempts < ATTEMPTS:
                return False
            await self._give_up(connection, event.tenant_id, event.type, mark, entry.event, why, attempts)
        return True

    async def refuse(self, entry: Entry, why: errors.MeshError) -> None:
        """Give up an entry that is no event.

        Raises:
            Unavailable: the dead letter cannot be written now.
        """
        # The name is the same when the entry is replayed or added again.
        name = f"unreadable-{blake2b(entry.event, digest_size=16).hexdigest()}"
        # Nobody knows whether what it says of its tenant is true.
        async with self._system.transaction() as connection:
            mark = (self._consumer, name, self._area, entry.row)
            await self._give_up(connection, entry.tenant_id, "", mark, entry.event, why, 1)

    async def prune(self) -> None:
        """Delete the marks of events that were handled more than a week ago and are in neither outbox nor stream."""
        async with self._system.connection() as connection:
            await connection.execute(_PRUNE.format(area=self._area), self._consumer, self._area, KEPT_DAYS)
            await connection.execute(_PRUNE_LETTERS, self._consumer, self._area, KEPT_DAYS)

    async def _give_up(
        self,
        connection: "Connection",
        tenant_id: str,
        type: str,
        mark: tuple[str, str, str, int],
        event: bytes,
        why: Exception,
        attempts: int,
    ) -> None:
        if await connection.fetchval(_HANDLED, *mark) is None:
            return
        if isinstance(why, errors.MeshError):
            reason, said = why.reason, why.message
        else:
            # The text of the exception may show internals of the service.
            name = why.__class__.__name__
            reason, said = reasons.INTERNAL, f"the handler failed with {name}; the log of {self._consumer} says more"
        text = said.replace("\0", "\ufffd")[:_MOST_OF_AN_ERROR]
        consumer, event_id, area, _ = mark
        await connection.execute(
            _GIVEN_UP, tenant_id.replace("\0", ""), consumer, area, type, event_id, event, reason, text, attempts
        )


async def _run(
    handler: "Callable[[Connection, Event], Awaitable[None]]", connection: "Connection", event: Event, seconds: float
) -> None:
    try:
        with postgres.typed_errors():
            try:
                async with asyncio.timeout(seconds):
                    await handler(connection, event)
            except OSError as error:
                # A missing file or a timeout of the handler would otherwise be taken for a Postgres that is away.
                if connection.is_closed():
                    raise
                raise HandlerFailed(error) from error
    except errors.MeshError as error:
        if error.code in _AWAY:
            raise
        raise HandlerFailed(error) from error
    except HandlerFailed:
        raise
    except Exception as error:
        raise HandlerFailed(error) from error
