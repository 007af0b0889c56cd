"""The client for code without asyncio."""

from collections.abc import Callable, Mapping
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
from somamesh.streams import ChatStream
from somamesh.turns import Answer, Messages, chat_request


class Client:
    """A mesh at `base_url`; a context manager. Every call has a timeout and raises `SomaError`.

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
            grpc.secure_channel(where.target, grpc.ssl_channel_credentials())
            if where.secure
            else grpc.insecure_channel(where.target)
        )
        self._outgoing = Outgoing(where)
        self._timeout = timeout
        self._chat = ChatServiceStub(self._channel)
        self._memory = MemoryServiceStub(self._channel)
        self._catalog = CatalogServiceStub(self._channel)

    @overload
    def chat(
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
    def chat(
        self,
        messages: Messages,
        *,
        model: str = "",
        conversation: str = "",
        stream: Literal[True],
        timeout: float = CHAT_SECONDS,
        **sampling: Any,
    ) -> ChatStream: ...

    def chat(
        self,
        messages: Messages,
        *,
        model: str = "",
        conversation: str = "",
        stream: bool = False,
        timeout: float = CHAT_SECONDS,
        **sampling: Any,
    ) -> Answer | ChatStream:
        """Take a turn: a text, or messages with `role` and `content`; `sampling` as `soma.model.v1.Sampling` has it.

        With a conversation the mesh remembers: bring only what is new. With `stream`, iterate over the answer's text.
        """
        request_id, metadata = self._outgoing.metadata()
        request = chat_request(messages, model, conversation, sampling)
        answering = ChatStream(self._chat.Chat(request, timeout=timeout, metadata=metadata), request_id)
        return answering if stream else answering.answer()

    def remember(
        self, key: str, value: object, *, metadata: Mapping[str, Any] | None = None, ttl_seconds: int | None = None
    ) -> None:
        """Store any JSON value under a key; storing again replaces it."""
        self._call(self._memory.Remember, remember_request(key, value, metadata, ttl_seconds))

    def recall(self, key: str) -> Memory:
        """Read one key; raises `NotFound`."""
        return recalled(self._call(self._memory.Recall, memory.RecallRequest(key=key)))

    def retrieve(
        self,
        query: str,
        *,
        top_k: int | None = None,
        score_threshold: float | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> list[Memory]:
        """Search by meaning, best first; `where` is metadata a result must have."""
        return retrieved(self._call(self._memory.Retrieve, retrieve_request(query, top_k, score_threshold, where)))

    def models(self) -> list[Model]:
        """The models there are, the default first."""
        return listed(self._call(self._catalog.ListModels, ListModelsRequest()))

    def _call(self, method: Callable[..., Any], request: object) -> Any:
        request_id, metadata = self._outgoing.metadata()
        try:
            return method(request, timeout=self._timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise failed(error, request_id) from error

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
