"""Where one response is kept: in the store, in the background with its events, or nowhere."""

from soma.orchestrator.v1.response_service_pb2 import CreateResponseRequest, CreateResponseResponse, Response

from services.orchestrator.responses.events import KEPT, ResponseEvents
from services.orchestrator.responses.store import ResponseStore


class Kept:
    """A response of a tenant, in the store; with `events`, what happens to it is kept, too."""

    def __init__(self, store: ResponseStore, tenant_id: str, events: ResponseEvents | None) -> None:
        self._store = store
        self._tenant_id = tenant_id
        self._events = events
        self._response_id = ""

    async def begin(self, asked: CreateResponseRequest, response: Response) -> None:
        """See `Keeping`."""
        self._response_id = response.response_id
        await self._store.begin(self._tenant_id, asked, response)

    async def note(self, event: CreateResponseResponse) -> None:
        """See `Keeping`."""
        if self._events is not None and event.WhichOneof("payload") in KEPT:
            await self._events.add(self._response_id, event)

    async def end(self, response: Response) -> None:
        """See `Keeping`."""
        await self._store.end(self._tenant_id, response)


class NotKept:
    """A response nobody asks for again."""

    async def begin(self, asked: CreateResponseRequest, response: Response) -> None:
        """See `Keeping`."""

    async def note(self, event: CreateResponseResponse) -> None:
        """See `Keeping`."""

    async def end(self, response: Response) -> None:
        """See `Keeping`."""
