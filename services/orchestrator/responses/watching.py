"""Tells of a response that is made in the background, by this process or another, from any of its events on."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from soma.errors.v1 import reasons
from soma.mesh.v1.stream_pb2 import Heartbeat
from soma.orchestrator.v1.response_service_pb2 import Response, WatchResponseResponse

from services.mesh.call import errors
from services.mesh.watching.rows import Found, RowSequences
from services.mesh.watching.watch import told
from services.orchestrator.responses.events import ResponseEvents
from services.orchestrator.responses.store import ResponseStore

_SILENCE_SECONDS = 5.0


class Watching:
    """Reads what the makers of responses keep, when they say that there is more."""

    def __init__(self, store: ResponseStore, events: ResponseEvents, sequences: RowSequences) -> None:
        self._store = store
        self._events = events
        self._sequences = sequences

    async def watch(
        self, tenant_id: str, response_id: str, sequence: int
    ) -> AsyncGenerator[WatchResponseResponse, None]:
        """The events from a sequence on, down to `finished`.

        Raises:
            NotFound: there is no such response, or none any more.
            FailedPrecondition: it is not made in the background.
            Unavailable: Postgres cannot be reached.
        """

        async def read(place: int) -> Found[WatchResponseResponse]:
            return await self._since(tenant_id, response_id, place)

        with self._sequences.watch(response_id, sequence, read) as watch:
            async with aclosing(told(watch, _SILENCE_SECONDS)) as events:
                async for event in events:
                    if event is None:
                        yield WatchResponseResponse(sequence=sequence, heartbeat=Heartbeat())
                        continue
                    yield event
                    sequence = event.sequence + 1
                    if event.HasField("finished"):
                        return

    async def _since(self, tenant_id: str, response_id: str, sequence: int) -> Found[WatchResponseResponse]:
        # First how far it is, then what happened: nothing is added to one that has ended.
        progress = await self._store.progress(tenant_id, response_id)
        if progress is None:
            raise errors.NotFound(f"Response with id '{response_id}' not found.", reason=reasons.RESPONSE_NOT_FOUND)
        response, lost_after = progress
        if not response.settings.background:
            raise errors.FailedPrecondition(
                "Only a response that was made with background=true can be streamed again.",
                reason=reasons.RESPONSE_NOT_IN_BACKGROUND,
            )
        found = await self._events.since(response_id, sequence)
        if found:
            return Found(found, found[-1].sequence + 1)
        if response.state != Response.STATE_IN_PROGRESS:
            return Found([WatchResponseResponse(sequence=sequence, finished=response)], sequence)
        # Nobody tells of a process that died: its mark tells until when it can be taken for alive.
        return Found((), sequence, again=lost_after)
