"""Tells of a response that is made in the background, by this process or another, from any of its events on."""

import asyncio
from collections.abc import AsyncGenerator
from time import monotonic

from soma.errors.v1 import reasons
from soma.mesh.v1.stream_pb2 import Heartbeat
from soma.orchestrator.v1.response_service_pb2 import Response, WatchResponseResponse

from services.mesh import errors
from services.orchestrator.responses.events import ResponseEvents
from services.orchestrator.responses.store import ResponseStore

_LOOK_SECONDS = 0.1
_SILENCE_SECONDS = 5.0


class Watching:
    """Reads what the makers of responses keep."""

    def __init__(self, store: ResponseStore, events: ResponseEvents) -> None:
        self._store = store
        self._events = events

    async def watch(
        self, tenant_id: str, response_id: str, sequence: int
    ) -> AsyncGenerator[WatchResponseResponse, None]:
        """The events from a sequence on, down to `finished`.

        Raises:
            NotFound: there is no such response, or none any more.
            FailedPrecondition: it is not made in the background.
        """
        told = monotonic()
        while True:
            # First how far it is, then what happened: nothing is added to one that has ended.
            response = await self._store.get(tenant_id, response_id)
            if response is None:
                raise errors.NotFound(f"Response with id '{response_id}' not found.", reason=reasons.RESPONSE_NOT_FOUND)
            if not response.settings.background:
                raise errors.FailedPrecondition(
                    "Only a response that was made with background=true can be streamed again.",
                    reason=reasons.RESPONSE_NOT_IN_BACKGROUND,
                )
            found = await self._events.since(response_id, sequence)
            for event in found:
                yield event
                sequence, told = event.sequence + 1, monotonic()
            if found:
                continue
            if response.state != Response.STATE_IN_PROGRESS:
                yield WatchResponseResponse(sequence=sequence, finished=response)
                return
            if monotonic() - told > _SILENCE_SECONDS:
                yield WatchResponseResponse(sequence=sequence, heartbeat=Heartbeat())
                told = monotonic()
            await asyncio.sleep(_LOOK_SECONDS)
