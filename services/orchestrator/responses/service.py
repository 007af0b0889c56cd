"""soma.orchestrator.v1.ResponseService over turns and a store."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

from soma.errors.v1 import reasons
from soma.orchestrator.v1 import response_service_pb2 as pb
from soma.orchestrator.v1 import response_service_pb2_grpc as rpc

from services.mesh.call import errors, page_token
from services.mesh.call.call import current_call, principal, run_as
from services.mesh.watching.rows import RowSequences
from services.orchestrator.chat.turn import TakesTurns
from services.orchestrator.responses import conversation
from services.orchestrator.responses.events import ResponseEvents
from services.orchestrator.responses.input_items import input_items, page
from services.orchestrator.responses.keeping import Kept, NotKept
from services.orchestrator.responses.making import Making
from services.orchestrator.responses.progress import RESPONSE_ID, Progress
from services.orchestrator.responses.running import Running
from services.orchestrator.responses.store import ResponseStore
from services.orchestrator.responses.watching import Watching

_PAGE_SIZE = 20


class Models(Protocol):
    """Which models there are."""

    async def require_chat(self, name: str) -> None:
        """Refuse a name no chat model has; empty is the default's."""
        ...


class ResponseService(rpc.ResponseServiceServicer):
    """Makes responses; `background_seconds` is the most one may take that nobody waits for."""

    def __init__(
        self,
        turns: TakesTurns,
        store: ResponseStore,
        events: ResponseEvents,
        sequences: RowSequences,
        running: Running,
        models: Models,
        background_seconds: float,
    ) -> None:
        self._turns = turns
        self._models = models
        self._store = store
        self._events = events
        self._watching = Watching(store, events, sequences)
        self._running = running
        self._background_seconds = background_seconds

    async def CreateResponse(
        self, request: pb.CreateResponseRequest, context: Any
    ) -> AsyncGenerator[pb.CreateResponseResponse, None]:
        """See the contract."""
        making = await self._make(request)
        async with aclosing(making.events()) as events:
            async for event in events:
                yield event

    async def WatchResponse(
        self, request: pb.WatchResponseRequest, context: Any
    ) -> AsyncGenerator[pb.WatchResponseResponse, None]:
        """See the contract."""
        if not RESPONSE_ID.fullmatch(request.response_id):
            raise _not_found(request.response_id)
        first = request.after_sequence + 1 if request.HasField("after_sequence") else 0
        watched = self._watching.watch(principal().tenant_id, request.response_id, first)
        async with aclosing(watched) as events:
            async for event in events:
                yield event

    async def GetResponse(self, request: pb.GetResponseRequest, context: Any) -> pb.GetResponseResponse:
        """See the contract."""
        return pb.GetResponseResponse(response=await self._get(request.response_id))

    async def ListResponseInputItems(
        self, request: pb.ListResponseInputItemsRequest, context: Any
    ) -> pb.ListResponseInputItemsResponse:
        """See the contract."""
        known = RESPONSE_ID.fullmatch(request.response_id)
        chain = await self._store.chain(principal().tenant_id, request.response_id) if known else []
        if not chain:
            raise _not_found(request.response_id)
        items = input_items(chain)
        if request.newest_first:
            items.reverse()
        try:
            found, after = page(items, request.page_token, request.page_size or _PAGE_SIZE)
        except KeyError as error:
            raise page_token.refusal(f"Item with id '{request.page_token}' not found.") from error
        return pb.ListResponseInputItemsResponse(items=found, next_page_token=after)

    async def DeleteResponse(self, request: pb.DeleteResponseRequest, context: Any) -> pb.DeleteResponseResponse:
        """See the contract."""
        known = RESPONSE_ID.fullmatch(request.response_id)
        if not known or not await self._store.delete(principal().tenant_id, request.response_id):
            raise _not_found(request.response_id)
        self._running.cancel(request.response_id)
        return pb.DeleteResponseResponse(response_id=request.response_id)

    async def CancelResponse(self, request: pb.CancelResponseRequest, context: Any) -> pb.CancelResponseResponse:
        """See the contract."""
        if RESPONSE_ID.fullmatch(request.response_id):
            await self._store.cancel(principal().tenant_id, request.response_id)
        response = await self._get(request.response_id)
        if response.state == pb.Response.STATE_CANCELLED:
            self._running.cancel(request.response_id)
        return pb.CancelResponseResponse(response=response)

    async def _make(self, request: pb.CreateResponseRequest) -> Making:
        who = principal()
        settings = request.settings
        kept = not settings.HasField("store") or settings.store
        if settings.background and not kept:
            raise _wrong("settings.background", "a response that is made in the background has to be stored")
        if settings.previous_response_id and settings.conversation_id:
            raise _wrong("settings.previous_response_id", "a conversation and a previous response exclude each other")
        if settings.background:
            # Nobody waits for the turn, which would be the first to say that there is no such model.
            await self._models.require_chat(request.model)
        new = await conversation.new_messages(self._store, who.tenant_id, request.input)
        before = await conversation.earlier_messages(self._store, who.tenant_id, settings.previous_response_id)
        asked = pb.CreateResponseRequest(input=[pb.ResponseInput(message=message) for message in new])
        progress = Progress(request.model, settings)
        call = current_call()
        trace = call.trace if call is not None else None
        making = Making(
            progress,
            self._turns.take(conversation.turn(request, [*before, *new])),
            asked,
            Kept(self._store, who.tenant_id, self._events if settings.background else None) if kept else NotKept(),
            detached=settings.background,
            scope=run_as(who, trace=trace, timeout=self._background_seconds) if settings.background else None,
        )
        if kept:
            self._running.add(progress.response.response_id, making)
        return making

    async def _get(self, response_id: str) -> pb.Response:
        tenant_id = principal().tenant_id
        response = await self._store.get(tenant_id, response_id) if RESPONSE_ID.fullmatch(response_id) else None
        if response is None:
            raise _not_found(response_id)
        return response


def _not_found(response_id: str) -> errors.NotFound:
    return errors.NotFound(f"Response with id '{response_id}' not found.", reason=reasons.RESPONSE_NOT_FOUND)


def _wrong(field: str, message: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(message, violations=[errors.FieldViolation(field, message)])
