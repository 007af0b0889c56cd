"""The consumers of a service, and the job that reads events for them: each event takes effect exactly once.

A service has one group in the stream of each area it consumes, and one process at a time reads as the group's only
consumer. For each event one transaction has the mark that it is handled, and what the handler writes. Then the event
is acknowledged. If the process dies in between, the event is read again, and the mark says that it is handled.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import redis.asyncio as aioredis
import structlog
from prometheus_client import Counter
from soma.events.v1.event_pb2 import Event

from services.mesh.call import errors
from services.mesh.events import groups
from services.mesh.events.delivery import Deliveries, HandlerFailed
from services.mesh.events.event import area_of, read_event
from services.mesh.events.stream import Entry, EventStream, GroupLost
from services.mesh.process.jobs import Job

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, Database

log = structlog.get_logger("events")

Handler: TypeAlias = Callable[["Connection", Event], Awaitable[None]]

BATCH = 64
BLOCK_MILLISECONDS = 2_000
PRUNE_SECONDS = 3600.0
# The label of events whose type is not known.
_UNREADABLE = "unreadable"
_LABELS = ("consumer", "type")
_HANDLED = Counter("soma_events_handled_total", "Events a consumer handled", _LABELS)
_RETRIED = Counter("soma_events_retried_total", "Times a consumer failed at an event and is to try again", _LABELS)
_DEAD = Counter("soma_events_dead_letters_total", "Events a consumer gave up on", _LABELS)


@dataclass(frozen=True)
class Consumer:
    """What a service does when it gets an event.

    Attributes:
        type: of the events, such as `memory.conversation.deleted`.
        handler: handles an event in the transaction of the given connection, and does not commit. It is called again
            after it failed: without limit after Unavailable and DeadlineExceeded, which mean that something is away.
            After five other errors the event becomes a dead letter.
        seconds: how long the handler may take; longer is an error.
    """

    type: str
    handler: Handler
    seconds: float = 30.0


def consuming(service: str, consumers: Iterable[Consumer], database: "Database", client: aioredis.Redis) -> list[Job]:
    """The jobs that read and handle events for a service, two for each area it consumes.

    Raises:
        ValueError: a type is no type of an event, or has two consumers.
    """
    areas: dict[str, dict[str, Consumer]] = {}
    for consumer in consumers:
        known = areas.setdefault(area_of(consumer.type), {})
        if consumer.type in known:
            raise ValueError(f"{service} has two consumers of {consumer.type!r}; one handler does all there is to do")
        known[consumer.type] = consumer
    return [job for area, known in areas.items() for job in _Following(service, area, known, database, client).jobs]


class _Following:
    """Reads the stream of one area for one service."""

    def __init__(
        self, service: str, area: str, consumers: Mapping[str, Consumer], database: "Database", client: aioredis.Redis
    ) -> None:
        self._service = service
        self._area = area
        self._consumers = consumers
        self._system = database.system
        self._stream = EventStream(client, area)
        self._deliveries = Deliveries(database, service, area)
        self._ready = False
        # Whether there may be entries that were read but not acknowledged, by this process or one before it.
        self._left = True

    @property
    def jobs(self) -> tuple[Job, Job]:
        """One job that reads and handles events, and one that deletes old marks."""
        return (
            Job(f"events_{self._area}", self._follow, alone=True),
            Job(f"events_{self._area}_prune", self._prune, every=PRUNE_SECONDS, alone=True),
        )

    async def _follow(self) -> bool:
        """Handle the events that are there, or wait a while for some; returns whether to read again at once."""
        if not self._ready:
            await groups.register(self._system, self._service, self._area)
            await self._stream.create_group(self._service)
            self._ready = True
        left, self._left = self._left, True
        try:
            entries = await self._stream.read(self._service, BATCH, None if left else BLOCK_MILLISECONDS)
        except GroupLost:
            self._ready = False
            return True
        await self._handle_all(entries)
        self._left = bool(left and entries)
        return bool(left or entries)

    async def _handle_all(self, entries: list[Entry]) -> None:
        handled: list[str] = []
        try:
            for entry in entries:
                await self._handle(entry)
                handled.append(entry.id)
        finally:
            if handled:
                await self._stream.acknowledge(self._service, handled)

    async def _handle(self, entry: Entry) -> None:
        """Return once an entry is handled, refused or given up.

        Raises:
            Exception: what the handler raised; the entry has to be tried again.
        """
        if entry.consumer not in ("", self._service):
            return
        try:
            event = read_event(entry.event)
        except errors.InvalidArgument as error:
            await self._deliveries.refuse(entry, error)
            self._report_dead(_UNREADABLE, entry.id, error)
            return
        consumer = self._consumers.get(event.type)
        if consumer is None:
            return
        labels = (self._service, event.type)
        try:
            if await self._deliveries.handle(entry, event, consumer.handler, consumer.seconds):
                _HANDLED.labels(*labels).inc()
        except HandlerFailed as failed:
            if not await self._deliveries.fail(entry, event, failed.why):
                _RETRIED.labels(*labels).inc()
                raise failed.why from None
            self._report_dead(event.type, event.event_id, failed.why, event.traceparent)
        except errors.MeshError:
            _RETRIED.labels(*labels).inc()
            raise

    def _report_dead(self, type: str, event_id: str, why: Exception, traceparent: str = "") -> None:
        _DEAD.labels(self._service, type).inc()
        log.error(
            "event given up, soma events replays it",
            consumer=self._service,
            type=type,
            event_id=event_id,
            traceparent=traceparent,
            exc_info=why,
        )

    async def _prune(self) -> None:
        """Delete old marks, unless entries are pending: one of them may be an old event that is handled already."""
        pending = [group.pending for group in await self._stream.groups() if group.name == self._service]
        if pending == [0]:
            await self._deliveries.prune()
