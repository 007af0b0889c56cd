"""Services that do what a test scripts, and keep what came along with each call."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct, Value
from soma.memory.v1 import memory_service_pb2 as memory
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceServicer
from soma.mesh.v1.stream_pb2 import Heartbeat, StreamError
from soma.model.v1 import catalog_service_pb2 as catalog
from soma.model.v1 import message_pb2 as model
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceServicer
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceServicer

from services.mesh.errors import NotFound

Step = chat.ChatResponse | BaseException | asyncio.Event


class ScriptedChat(ChatServiceServicer):
    """Sends the events of `script`, raises its exceptions and waits for its `asyncio.Event`s."""

    def __init__(self) -> None:
        self.script: Sequence[Step] = spoken("Hello", ", world")
        self.requests: list[chat.ChatRequest] = []
        self.metadata: dict[str, str | bytes] = {}
        self.seconds_left = 0.0
        self.ended = asyncio.Event()

    async def Chat(self, request: chat.ChatRequest, context: Any) -> AsyncIterator[chat.ChatResponse]:
        """See the contract."""
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        self.seconds_left = context.time_remaining()
        try:
            for step in self.script:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        finally:
            self.ended.set()


class KeptMemory(MemoryServiceServicer):
    """Keeps values in a dictionary; everything is found by any query."""

    def __init__(self) -> None:
        self.kept: dict[str, memory.RememberRequest] = {}
        self.retrieved: memory.RetrieveRequest | None = None

    async def Remember(self, request: memory.RememberRequest, context: object) -> memory.RememberResponse:
        """See the contract."""
        self.kept[request.key] = request
        return memory.RememberResponse(key=request.key, status="stored")

    async def Recall(self, request: memory.RecallRequest, context: object) -> memory.RecallResponse:
        """See the contract."""
        if request.key not in self.kept:
            raise NotFound(f"nothing is remembered as {request.key}", reason="MEMORY_NOT_FOUND")
        value, metadata = self._of(request.key)
        return memory.RecallResponse(key=request.key, value=value, metadata=metadata)

    async def Retrieve(self, request: memory.RetrieveRequest, context: object) -> memory.RetrieveResponse:
        """See the contract."""
        self.retrieved = request
        results = []
        for key in self.kept:
            value, metadata = self._of(key)
            results.append(memory.RetrievedMemory(key=key, value=value, metadata=metadata, score=0.75))
        return memory.RetrieveResponse(results=results)

    def _of(self, key: str) -> tuple[Value, Struct]:
        return self.kept[key].value, self.kept[key].metadata


class OneModel(CatalogServiceServicer):
    """Lists one model."""

    async def ListModels(self, request: object, context: object) -> catalog.ListModelsResponse:
        """See the contract."""
        return catalog.ListModelsResponse(
            models=[catalog.Model(name="plain", provider="local", available=True, default=True)]
        )


def spoken(*texts: str) -> list[Step]:
    """A whole turn that says `texts`."""
    usage = model.Usage(prompt_tokens=5, completion_tokens=2, total_tokens=7)
    finished = chat.ChatFinished(
        finish_reason=model.FINISH_REASON_STOP,
        usage=usage,
        time_to_first_token_seconds=0.25,
        duration_seconds=0.5,
        sources=[model.Source(key="fact/1")],
    )
    return [
        chat.ChatResponse(started=chat.ChatStarted(chat_id="t1", model="plain", conversation_id="c1")),
        chat.ChatResponse(heartbeat=Heartbeat()),
        *(chat.ChatResponse(delta=chat.ChatDelta(text=text)) for text in texts),
        chat.ChatResponse(finished=finished),
    ]


def broken(code: grpc.StatusCode, reason: str) -> chat.ChatResponse:
    """The event that ends a stream which failed."""
    error = StreamError(code=code.value[0], status=code.name, reason=reason, message="it broke", retry_after_seconds=2)
    return chat.ChatResponse(error=error)
