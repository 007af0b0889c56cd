"""soma.orchestrator.v1.ResponseService: makes responses of turns, and stores them."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import Message
from soma.orchestrator.v1 import response_service_pb2 as pb
from soma.orchestrator.v1 import response_service_pb2_grpc as rpc

from services.mesh.blobs.blobs import Blobs
from services.mesh.call import errors, page_token
from services.mesh.call.call import current_call, principal
from services.mesh.call.delegation import Delegations
from services.mesh.watching.rows import RowSequences
from services.orchestrator.adapters.model import ChatModels
from services.orchestrator.chat.turn import TakesTurns
from services.orchestrator.media import held
from services.orchestrator.responses.compaction import Compactions, answer_of, summary_request, window_of
from services.orchestrator.responses.draft import Draft, Events, Source
from services.orchestrator.responses.input import chat_request, earlier_inputs, input_items, new_inputs, page
from services.orchestrator.responses.response import RESPONSE_ID, ResponseBuilder
from services.orchestrator.responses.store import PostgresResponseEvents, PostgresResponses, ResponseRecord
from services.orchestrator.responses.task import ResponseTask, ResponseTasks
from services.orchestrator.responses.tokens import TokenCounts
from services.orchestrator.responses.watch import ResponseWatcher

_PAGE_SIZE = 20
# What the contract demands of whoever asks for a response, and what its caller must keep while it is made.
_SCOPES = ("execute:chat",)


class ResponseService(rpc.ResponseServiceServicer):
    """Serves responses; one that is made in the background may take `background_seconds`."""

    def __init__(
        self,
        turns: TakesTurns,
        store: PostgresResponses,
        events: PostgresResponseEvents,
        sequences: RowSequences,
        tasks: ResponseTasks,
        models: ChatModels,
        compactions: Compactions,
        counts: TokenCounts,
        blobs: Blobs,
        delegations: Delegations,
        background_seconds: float,
    ) -> None:
        self._turns = turns
        self._models = models
        self._store = store
        self._events = events
        self._watcher = ResponseWatcher(store, events, sequences)
        self._tasks = tasks
        self._compactions = compactions
        self._counts = counts
        self._blobs = blobs
        self._delegations = delegations
        self._background_seconds = background_seconds

    async def CreateResponse(
        self, request: pb.CreateResponseRequest, context: Any
    ) -> AsyncGenerator[pb.CreateResponseResponse, None]:
        async with aclosing(await self._start(request)) as events:
            async for event in events:
                yield event

    async def WatchResponse(
        self, request: pb.WatchResponseRequest, context: Any
    ) -> AsyncGenerator[pb.WatchResponseResponse, None]:
        if not RESPONSE_ID.fullmatch(request.response_id):
            raise _not_found(request.response_id)
        first = request.after_sequence + 1 if request.HasField("after_sequence") else 0
        watched = self._watcher.watch(principal().tenant_id, request.response_id, first)
        async with aclosing(watched) as events:
            async for event in events:
                yield event

    async def GetResponse(self, request: pb.GetResponseRequest, context: Any) -> pb.GetResponseResponse:
        return pb.GetResponseResponse(response=await self._get(request.response_id))

    async def ListResponseInputItems(
        self, request: pb.ListResponseInputItemsRequest, context: Any
    ) -> pb.ListResponseInputItemsResponse:
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
        known = RESPONSE_ID.fullmatch(request.response_id)
        if not known or not await self._store.delete(principal().tenant_id, request.response_id):
            raise _not_found(request.response_id)
        self._tasks.cancel(principal().tenant_id, request.response_id)
        return pb.DeleteResponseResponse(response_id=request.response_id)

    async def CancelResponse(self, request: pb.CancelResponseRequest, context: Any) -> pb.CancelResponseResponse:
        if RESPONSE_ID.fullmatch(request.response_id):
            await self._store.cancel(principal().tenant_id, request.response_id)
        response = await self._get(request.response_id)
        if response.state == pb.Response.STATE_CANCELLED:
            self._tasks.cancel(principal().tenant_id, request.response_id)
        return pb.CancelResponseResponse(response=response)

    async def CompactResponse(self, request: pb.CompactResponseRequest, context: Any) -> pb.CompactResponseResponse:
        tenant_id = principal().tenant_id
        new = await new_inputs(self._store, tenant_id, request.input)
        before = await earlier_inputs(self._store, tenant_id, request.previous_response_id)
        window = window_of(await self._compactions.opened(tenant_id, [*before, *new]))
        if not window.messages:
            raise _invalid("input", "there is no conversation to compact: send `input` or `previous_response_id`")
        answer = await answer_of(self._turns.take(summary_request(request.model, request.instructions, window)))
        return await self._compactions.made(tenant_id, window, answer)

    async def CountResponseTokens(
        self, request: pb.CountResponseTokensRequest, context: Any
    ) -> pb.CountResponseTokensResponse:
        settings = request.settings
        _check_one_history(settings)
        tenant_id = principal().tenant_id
        new = await new_inputs(self._store, tenant_id, request.input)
        before = await earlier_inputs(self._store, tenant_id, settings.previous_response_id)
        messages = await self._compactions.opened(tenant_id, new)
        earlier = await self._compactions.opened(tenant_id, before)
        asked = pb.CreateResponseRequest(model=request.model, settings=settings)
        turn = chat_request(asked, earlier, messages)
        if not turn.messages:
            raise _invalid("input", "there is nothing to count: send `input` or `settings.previous_response_id`")
        counted = await self._counts.of(turn)
        return pb.CountResponseTokensResponse(
            input_tokens=counted.input_tokens,
            estimated=counted.estimated,
            model=counted.model,
            provider=counted.provider,
        )

    async def _start(self, request: pb.CreateResponseRequest) -> Events:
        """Check a request, and begin its response; returns the events."""
        who = principal()
        settings = request.settings
        stored = not settings.HasField("store") or settings.store
        if settings.background and not stored:
            raise _invalid("settings.background", "a response that is made in the background has to be stored")
        _check_one_history(settings)
        if settings.background:
            # The turn would report a missing model too late, because no caller waits for it.
            await self._models.require(request.model)
        new = await new_inputs(self._store, who.tenant_id, request.input)
        before = await earlier_inputs(self._store, who.tenant_id, settings.previous_response_id)
        messages = await self._compactions.opened(who.tenant_id, new)
        earlier = await self._compactions.opened(who.tenant_id, before)
        response = ResponseBuilder(request.model, settings)
        token = ""
        if settings.background:
            actor = f"response:{response.response.response_id}"
            token = await self._delegations.delegate(actor, _SCOPES, self._background_seconds)
        source = self._source(request, earlier, messages, new, token)
        if not stored:
            # Nobody but its caller can read, cancel or delete it, so it needs no task of its own.
            return _events_of(Draft(response, None, early=False), source)
        record = ResponseRecord(self._store, who.tenant_id, self._events if settings.background else None)
        draft = Draft(response, record, early=settings.background)
        task = ResponseTask(draft, source, detached=settings.background)
        self._tasks.add(who.tenant_id, response.response.response_id, task)
        return task.events()

    @asynccontextmanager
    async def _source(
        self,
        request: pb.CreateResponseRequest,
        before: Sequence[Message],
        new: Sequence[Message],
        inputs: Sequence[pb.ResponseInput],
        token: str,
    ) -> AsyncIterator[Source]:
        """What a response is made from; the bytes of the new messages are held while it is made.

        A response that is made in the background acts with a delegated token; the others are part of their call.

        The new messages are those of the inputs, so that both have hashes in place of bytes then.
        """
        who, call = principal(), current_call()
        async with AsyncExitStack() as stack:
            if token:
                trace = call.trace if call else None
                acting = self._delegations.acting(token, trace=trace, timeout=self._background_seconds)
                await stack.enter_async_context(acting)
            await stack.enter_async_context(held(self._blobs, who.tenant_id, new, kept=False))
            turn = self._turns.take(chat_request(request, before, new))
            yield Source(pb.CreateResponseRequest(input=[_stored(each) for each in inputs]), turn)

    async def _get(self, response_id: str) -> pb.Response:
        tenant_id = principal().tenant_id
        response = await self._store.get(tenant_id, response_id) if RESPONSE_ID.fullmatch(response_id) else None
        if response is None:
            raise _not_found(response_id)
        return response


async def _events_of(draft: Draft, opening: AbstractAsyncContextManager[Source]) -> Events:
    """The events of a response that is made while they are read."""
    async with opening as source, aclosing(draft.events(source)) as events:
        async for event in events:
            yield event


def _check_one_history(settings: pb.ResponseSettings) -> None:
    if settings.previous_response_id and settings.conversation_id:
        raise _invalid("settings.previous_response_id", "a conversation and a previous response exclude each other")


def _stored(given: pb.ResponseInput) -> pb.ResponseInput:
    """An input as it is stored: what it repeats of an earlier response is in it."""
    return (
        pb.ResponseInput(compaction=given.compaction) if given.compaction else pb.ResponseInput(message=given.message)
    )


def _not_found(response_id: str) -> errors.NotFound:
    return errors.NotFound(f"Response with id '{response_id}' not found.", reason=reasons.RESPONSE_NOT_FOUND)


def _invalid(field: str, message: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(message, violations=[errors.FieldViolation(field, message)])
