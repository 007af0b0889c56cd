"""A ChatService and a CatalogService that do what a test scripts."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from soma.mesh.v1.stream_pb2 import Heartbeat
from soma.model.v1 import catalog_service_pb2 as catalog
from soma.model.v1 import message_pb2 as model
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceServicer
from soma.model.v1.model_service_pb2 import EmbeddingUsage, EmbedRequest, EmbedResponse, Vector
from soma.model.v1.model_service_pb2_grpc import ModelServiceServicer
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1 import response_service_pb2 as responses
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceServicer
from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceServicer

from services.mesh.call.call import Call, current_call
from services.mesh.call.errors import NotFound

Step = chat.ChatResponse | BaseException | asyncio.Event


class ScriptedChat(ChatServiceServicer):
    """Sends the events of `script`, raises its exceptions and waits for its `asyncio.Event`s."""

    def __init__(self) -> None:
        self.active = 0
        self.reset(())

    def reset(self, script: Iterable[Step]) -> None:
        """Forget what came before."""
        self.script: Iterable[Step] = script
        self.requests: list[chat.ChatRequest] = []
        self.calls: list[Call | None] = []
        self.sent = 0
        self.ended = asyncio.Event()

    async def Chat(self, request: chat.ChatRequest, context: object) -> AsyncIterator[chat.ChatResponse]:
        """See the contract."""
        self.requests.append(request)
        self.calls.append(current_call())
        self.active += 1
        try:
            for step in self.script:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
                    self.sent += 1
        finally:
            self.active -= 1
            self.ended.set()


class ScriptedResponses(ResponseServiceServicer):
    """Sends the events of `script` and raises its exceptions; keeps one response, the last of the script."""

    def __init__(self) -> None:
        self.reset(())

    def reset(self, script: Iterable[responses.CreateResponseResponse | BaseException | asyncio.Event]) -> None:
        """Forget what came before."""
        self.script = list(script)
        self.requests: list[responses.CreateResponseRequest] = []
        self.kept: responses.Response | None = None
        self.listed: list[responses.ListResponseInputItemsRequest] = []
        self.input_items = responses.ListResponseInputItemsResponse()
        self.ended = asyncio.Event()

    async def CreateResponse(
        self, request: responses.CreateResponseRequest, context: object
    ) -> AsyncIterator[responses.CreateResponseResponse]:
        """See the contract."""
        self.requests.append(request)
        try:
            for step in self.script:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                    continue
                for response in (step.created, step.finished):
                    if response.response_id:
                        response.settings.CopyFrom(request.settings)
                        self.kept = response
                yield step
        finally:
            self.ended.set()

    async def WatchResponse(
        self, request: responses.WatchResponseRequest, context: object
    ) -> AsyncIterator[responses.WatchResponseResponse]:
        """See the contract; what is scripted."""
        self._find(request.response_id)
        for step in self.script:
            if isinstance(step, BaseException):
                raise step
            if not isinstance(step, asyncio.Event):
                yield responses.WatchResponseResponse.FromString(step.SerializeToString())

    async def GetResponse(
        self, request: responses.GetResponseRequest, context: object
    ) -> responses.GetResponseResponse:
        """See the contract."""
        return responses.GetResponseResponse(response=self._find(request.response_id))

    async def ListResponseInputItems(
        self, request: responses.ListResponseInputItemsRequest, context: object
    ) -> responses.ListResponseInputItemsResponse:
        """See the contract."""
        self._find(request.response_id)
        self.listed.append(request)
        return self.input_items

    async def DeleteResponse(
        self, request: responses.DeleteResponseRequest, context: object
    ) -> responses.DeleteResponseResponse:
        """See the contract."""
        self._find(request.response_id)
        self.kept = None
        return responses.DeleteResponseResponse(response_id=request.response_id)

    async def CancelResponse(
        self, request: responses.CancelResponseRequest, context: object
    ) -> responses.CancelResponseResponse:
        """See the contract."""
        response = self._find(request.response_id)
        response.state = responses.Response.STATE_CANCELLED
        return responses.CancelResponseResponse(response=response)

    def _find(self, response_id: str) -> responses.Response:
        if self.kept is None or self.kept.response_id != response_id:
            raise NotFound(f"Response with id '{response_id}' not found.", reason="RESPONSE_NOT_FOUND")
        return self.kept


class ScriptedEmbedder(ModelServiceServicer):
    """Embeds each text as its length, and the place it had among the texts of its call."""

    def __init__(self) -> None:
        self.requests: list[EmbedRequest] = []
        self.windows = 1

    async def Embed(self, request: EmbedRequest, context: object) -> EmbedResponse:
        """See the contract."""
        self.requests.append(request)
        texts = request.input or [each.numbers for each in request.tokens]
        vectors = [
            Vector(embedding=[len(text), index], index=index, windows=self.windows) for index, text in enumerate(texts)
        ]
        usage = EmbeddingUsage(total_tokens=len(vectors))
        return EmbedResponse(model="small-embed", vectors=vectors, vector_length=2, usage=usage)


class ScriptedCatalog(CatalogServiceServicer):
    """Lists the models it is given."""

    def __init__(self) -> None:
        self.models = [
            catalog.Model(
                name="lab/small", provider="lab", owned_by="the lab", create_time=Timestamp(seconds=1_700_000_000)
            ),
            catalog.Model(name="plain", provider="local", default=True),
        ]
        self.failure: Exception | None = None

    async def ListModels(self, request: catalog.ListModelsRequest, context: object) -> catalog.ListModelsResponse:
        """See the contract."""
        if self.failure is not None:
            raise self.failure
        return catalog.ListModelsResponse(models=self.models)


def started(model_name: str = "plain", sources: Sequence[model.Source] = ()) -> chat.ChatResponse:
    """The event that opens a turn."""
    return chat.ChatResponse(started=chat.ChatStarted(chat_id="t1", model=model_name, sources=sources))


def delta(text: str) -> chat.ChatResponse:
    """A piece of text."""
    return chat.ChatResponse(delta=chat.ChatDelta(text=text))


def refused(text: str) -> chat.ChatResponse:
    """A piece of a refusal to answer."""
    return chat.ChatResponse(delta=chat.ChatDelta(text=text, refusal=True))


def tool_call(index: int, call_id: str = "", name: str = "", arguments: str = "") -> chat.ChatResponse:
    """A piece of a tool call."""
    piece = model.ToolCallDelta(index=index, call_id=call_id, name=name, arguments=arguments)
    return chat.ChatResponse(tool_call=piece)


def heartbeat() -> chat.ChatResponse:
    """A sign of life."""
    return chat.ChatResponse(heartbeat=Heartbeat())


def finished(reason: model.FinishReason.ValueType = model.FINISH_REASON_STOP) -> chat.ChatResponse:
    """The event that ends a turn: 5 tokens read, 2 written."""
    usage = model.Usage(prompt_tokens=5, completion_tokens=2, total_tokens=7)
    return chat.ChatResponse(finished=chat.ChatFinished(finish_reason=reason, usage=usage))


def spoken(*texts: str) -> list[Step]:
    """A whole turn that says `texts`."""
    return [started(), *map(delta, texts), finished()]


RESPONSE_ID = f"resp_{'0' * 31}7"


def answered(
    *texts: str, state: responses.Response.State.ValueType = responses.Response.STATE_COMPLETED
) -> list[responses.CreateResponseResponse]:
    """A whole response that says `texts`."""
    event = responses.CreateResponseResponse
    usage = model.Usage(prompt_tokens=5, completion_tokens=2, total_tokens=7)
    response = responses.Response(
        response_id=RESPONSE_ID,
        model="plain",
        state=responses.Response.STATE_IN_PROGRESS,
        create_time=Timestamp(seconds=1_700_000_000),
    )
    begun = responses.ResponseItem(item_id="msg_7_0", text=responses.ResponseText())
    whole = responses.ResponseItem(item_id="msg_7_0", text=responses.ResponseText(text="".join(texts)))
    finished = responses.Response(
        response_id=RESPONSE_ID,
        model="plain",
        state=state,
        create_time=response.create_time,
        end_time=Timestamp(seconds=1_700_000_001),
        output=[whole],
        usage=usage,
    )
    return [
        event(created=response),
        event(item_begun=responses.ResponseItemEvent(item=begun)),
        *(event(delta=responses.ResponseTextDelta(text=text)) for text in texts),
        event(item_done=responses.ResponseItemEvent(item=whole)),
        event(finished=finished),
    ]
