"""A ChatService and a CatalogService that do what a test scripts."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from soma.mesh.v1.stream_pb2 import Heartbeat
from soma.model.v1 import catalog_service_pb2 as catalog
from soma.model.v1 import message_pb2 as model
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceServicer
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceServicer

from services.mesh.call import Call, current_call

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
