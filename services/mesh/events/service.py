"""soma.mesh.v1.EventService over dead letters in Postgres and the streams in Redis."""

from typing import TYPE_CHECKING, Any

import redis.asyncio as aioredis
from soma.mesh.v1 import event_service_pb2 as pb
from soma.mesh.v1 import event_service_pb2_grpc as rpc

from services.mesh.call.call import principal
from services.mesh.call.handlers import Registration
from services.mesh.events import groups
from services.mesh.events.dead_letters import DeadLetters
from services.mesh.events.relay import WAITING
from services.mesh.events.stream import EventStream

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Database

# Every schema that has an outbox is a service that sends events.
_AREAS = """
    SELECT nspname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relname = 'outbox_added' ORDER BY nspname
"""


class EventService(rpc.EventServiceServicer):
    """Shows the state of events. Dead letters are those of the caller's tenant; streams are those of all tenants."""

    def __init__(self, database: "Database", client: aioredis.Redis) -> None:
        self._system = database.system
        self._redis = client
        self._letters = DeadLetters(database.tenants)

    async def ListDeadLetters(self, request: pb.ListDeadLettersRequest, context: Any) -> pb.ListDeadLettersResponse:
        return await self._letters.page(principal().tenant_id, request)

    async def ReplayDeadLetter(self, request: pb.ReplayDeadLetterRequest, context: Any) -> pb.ReplayDeadLetterResponse:
        letter = await self._letters.replay(principal().tenant_id, request.dead_letter_id)
        return pb.ReplayDeadLetterResponse(dead_letter=letter)

    async def ListEventStreams(self, request: pb.ListEventStreamsRequest, context: Any) -> pb.ListEventStreamsResponse:
        async with self._system.connection() as connection:
            areas: list[str] = [row[0] for row in await connection.fetch(_AREAS)]
            consumers = {area: await groups.registered(connection, area) for area in areas}
            counts = {area: await connection.fetchval(WAITING.format(table=f"{area}.outbox")) for area in areas}
        return pb.ListEventStreamsResponse(
            streams=[await self._stream(area, consumers[area], counts[area]) for area in areas]
        )

    async def _stream(self, area: str, consumers: list[str], waiting: int) -> pb.EventStream:
        stream = EventStream(self._redis, area)
        shown = [
            pb.EventGroup(consumer=group.name, lag=group.unread + group.pending + waiting, pending=group.pending)
            for group in await stream.groups(consumers)
        ]
        return pb.EventStream(area=area, length=await stream.length(), waiting=waiting, groups=shown)


def event_service(database: "Database", client: aioredis.Redis) -> Registration:
    """The EventService of a process, which needs only its stores."""
    return rpc.add_EventServiceServicer_to_server, EventService(database, client)
