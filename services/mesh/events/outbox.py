"""The outbox of a service: its events, written in the transaction of the change they report.

The table is in the service's own schema. `migrate` makes it for each service that declares what it sends, so no service
has it in its migrations. A row waits until the relay has added it to the stream. If the stream has consumers, the row
then gets its position in the stream, and is kept until all consumers have handled it.

Events of one aggregate keep their order if its writers lock the aggregate's row before they add an event.
"""

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

from soma.events.v1.event_pb2 import Event

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection

_ADD = "INSERT INTO {table} (tenant_id, aggregate, event) VALUES ($1, $2, $3)"


class Outbox:
    """The outbox of one service, for the types of events that it declares.

    A store that writes the change and the event in one statement needs only `wake`.
    """

    def __init__(self, service: str, sends: Collection[str]) -> None:
        self.area = service
        self.woken = asyncio.Event()
        self._sends = frozenset(sends)
        self._add = _ADD.format(table=f"{service}.outbox")

    async def add(self, connection: "Connection", aggregate: str, event: Event) -> None:
        """Write an event in the transaction of `connection`; call `wake` once that is committed.

        Raises:
            ValueError: the service does not declare that it sends events of this type.
        """
        if event.type not in self._sends:
            raise ValueError(f"{self.area} sends {event.type!r}, and its declaration names no such event")
        await connection.execute(self._add, event.tenant_id, aggregate, event.SerializeToString())

    def wake(self) -> None:
        """Have the relay look soon, because an event was committed."""
        self.woken.set()
