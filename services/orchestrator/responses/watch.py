"""Follows a response that any process makes in the background, from any of its events on."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from soma.errors.v1 import reasons
from soma.mesh.v1.stream_pb2 import Heartbeat
from soma.orchestrator.v1.response_service_pb2 import Response, WatchResponseResponse

from services.mesh.call import errors
from services.mesh.watching.rows import Found, RowSequences
from services.mesh.watching.watch import follow
from services.orchestrator.responses.store import PostgresResponseEvents, PostgresResponses

_SILENCE_SECONDS = 5.0


class ResponseWatcher:
    """Reads the stored events of responses, each time their task announces more."""

    def __init__(self, store: PostgresResponses, events: PostgresResponseEvents, sequences: RowSequences) -> None:
        self._store = store
        self._events = events
        self._sequences = sequences

    async def watch(
        self, tenant_id: str, response_id: str, sequence: int
    ) -> AsyncGenerator[WatchResponseResponse, None]:
        """The events from number `sequence` on, up to `finished`.

        Raises:
            NotFound: there is no such response, or it was deleted.
            FailedPrecondition: the response is not made in the background.
            Unavailable: Postgres cannot be reached.
        """

        async def read(place: int) -> Found[WatchResponseResponse]:
            return await self._since(tenant_id, response_id, place)

        with self._sequences.watch(response_id, sequence, read) as watch:
            async with aclosing(follow(watch, _SILENCE_SECONDS)) as events:
                async for event in events:
                    if event is None:
                        yield WatchResponseResponse(sequence=sequence, heartbeat=Heartbeat())
                        continue
                    yield event
                    sequence = event.sequence + 1
                    if event.HasField("finished"):
                        return

    async def _since(self, tenant_id: str, response_id: str, sequence: int) -> Found[WatchResponseResponse]:
        # The state is read before the events: a response that has ended gets no more events.
        progress = await self._store.progress(tenant_id, response_id)
        if progress is None:
            raise errors.NotFound(f"Response with id '{response_id}' not found.", reason=reasons.RESPONSE_NOT_FOUND)
        response, lost_after = progress
        if not response.settings.background:
            raise errors.FailedPrecondition(
                "Only a response that was made with background=true can be streamed again.",
                reason=reasons.RESPONSE_NOT_IN_BACKGROUND,
            )
        found = await self._events.since(tenant_id, response_id, sequence)
        if found:
            return Found(found, found[-1].sequence + 1)
        if response.state != Response.STATE_IN_PROGRESS:
            return Found([WatchResponseResponse(sequence=sequence, finished=response)], sequence)
        # A process that died announces nothing: read again when its response counts as interrupted.
        return Found((), sequence, again=lost_after)
