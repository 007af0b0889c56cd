"""The client for asyncio."""

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Literal, Self, overload

import grpc
from soma.memory.v1 import memory_service_pb2 as memory
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from soma.model.v1.catalog_service_pb2 import ListModelsRequest
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub

from somamesh.errors import failed
from somamesh.memories import Memory, recalled, remember_request, retrieve_request, retrieved
from somamesh.models import Model, listed
from somamesh.outgoing import CHAT_SECONDS, UNARY_SECONDS, Outgoing
from somamesh.settings import endpoint
from somamesh.streams import AsyncChatStream
from somamesh.turns import Answer, Messages, chat_request


class AsyncClient:
    """A mesh at `base_url`; an async context manager. Every call has a timeout and raises `SomaError`.

    Args:
        base_url: `http://host:port`; else `SOMA_API_URL`, else `http://127.0.0.1:8080`.
        api_key: else `SOMA_API_KEY`.
        timeout: seconds a call other than `chat` may take.
    """

    def __init__(
        self, base_url: str | None = None, api_key: str | None = None, *, timeout: float = UNARY_SECONDS
    ) -> None:
        where = endpoint(base_url, api_key)
        self._channel = (
            grpc.aio.secure_channel(where.target, grpc.ssl_channel_credentials())
            if where.secure
            else grpc.aio.insecure_channel(where.target)
        )
        self._outgoing = Outgoing(where)
        self._timeout = timeout
        self._chat = ChatServiceStub(self._channel)
        self._memory = MemoryServiceStub(self._channel)
        self._catalog = CatalogServiceStub(self._channel)

    @overload
    async def chat(
        self,
        messages: Messages,
        *,
        model: str = "",
        conversation: str = "",
        stream: Literal[False] = False,
        timeout: float = CHAT_SECONDS,
        **sampling: Any,
    ) -> Answer: ...

    @overload
    async def chat(
        self,
        messages: Messages,
        *,
        model: str = "",
        conversation: str = "",
        stream: Literal[True],
        timeout: float = CHAT_SECONDS,
        **sampling: Any,
    ) -> AsyncChatStream: ...

    async def chat(
        self,
        messages: Messages,
        *,
        model: str = "",
        conversation: str = "",
        stream: bool = False,
        timeout: float = CHAT_SECONDS,
        **sampling: Any,
    ) -> Answer | AsyncChatStream:
        """Take a turn: a text, or messages with `role` and `content`; `sampling` as `soma.model.v1.Sampling` has it.

        With a conversation the mesh remembers: bring only what is new. With `stream`, iterate over the answer's text
        by `async for`.
        """
        request_id, metadata = self._outgoing.metadata()
        request = chat_request(messages, model, conversation, sampling)
        answering = AsyncChatStream(self._chat.Chat(request, timeout=timeout, metadata=metadata), request_id)
        return answering if stream else await answering.answer()

    async def remember(
        self, key: str, value: object, *, metadata: Mapping[str, Any] | None = None, ttl_seconds: int | None = None
    ) -> None:
        """Store any JSON value under a key; storing again replaces it."""
        await self._call(self._memory.Remember, remember_request(key, value, metadata, ttl_seconds))

    async def recall(self, key: str) -> Memory:
        """Read one key; raises `NotFound`."""
        return recalled(await self._call(self._memory.Recall, memory.RecallRequest(key=key)))

    async def retrieve(
        self,
        query: str,
        *,
        top_k: int | None = None,
        score_threshold: float | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> list[Memory]:
        """Search by meaning, best first; `where` is metadata a result must have."""
        return retrieved(
            await self._call(self._memory.Retrieve, retrieve_request(query, top_k, score_threshold, where))
        )

    async def models(self) -> list[Model]:
        """The models there are, the default first."""
        return listed(await self._call(self._catalog.ListModels, ListModelsRequest()))

    async def _call(self, method: Callable[..., Awaitable[Any]], request: object) -> Any:
        request_id, metadata = self._outgoing.metadata()
        try:
            return await method(request, timeout=self._timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise failed(error, request_id) from error

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
