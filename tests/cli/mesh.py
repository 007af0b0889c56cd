"""A server with the mesh's real pipeline: the echo service, and a chat with scripted answers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceServicer, add_ChatServiceServicer_to_server
from soma.testing.v1.echo_service_pb2_grpc import add_EchoServiceServicer_to_server

from cli.endpoint import Endpoint
from services.mesh.call.authenticator import DevAuthenticator, Unlimited
from services.mesh.call.handlers import Registration, collect
from services.mesh.call.interceptors.drain import Drain
from services.mesh.call.spans import Spans
from services.mesh.call.stack import pipeline
from services.mesh.call.token import Signer
from services.mesh.testing.echo import EchoServicer
from services.mesh.transport.server import Server

KEY = "soma_dev_of_the_test"


class ScriptedChat(ChatServiceServicer):
    """Answers every turn with `events`, and records the requests."""

    def __init__(self) -> None:
        self.events: list[chat.ChatResponse] = []
        self.requests: list[chat.ChatRequest] = []

    async def Chat(self, request: chat.ChatRequest, context: Any) -> AsyncIterator[chat.ChatResponse]:
        self.requests.append(request)
        for event in self.events:
            yield event


def finished() -> chat.ChatResponse:
    """The final event of a successful turn."""
    return chat.ChatResponse(
        finished=chat.ChatFinished(
            finish_reason=message_pb2.FINISH_REASON_STOP,
            usage=message_pb2.Usage(total_tokens=12),
            time_to_first_token_seconds=0.5,
            tokens_per_second=20.0,
        )
    )


@asynccontextmanager
async def serving(chatting: ScriptedChat, *others: Registration) -> AsyncIterator[Endpoint]:
    """Run the server on a free port, with other services that a test adds; yields its endpoint."""
    async with AsyncExitStack() as stack:
        spans, drain = Spans("test", None), Drain()
        stack.callback(spans.close)
        wrap = pipeline(
            authenticator=DevAuthenticator(KEY),
            limiter=Unlimited(),
            signer=Signer(b"k" * 32, "test"),
            spans=spans,
            drain=drain,
            sample_ratio=0.0,
        )
        servicers: list[Registration] = [
            (add_EchoServiceServicer_to_server, EchoServicer()),
            (add_ChatServiceServicer_to_server, chatting),
            *others,
        ]
        server = Server(wrap.wrap_all(collect(servicers)), drain, max_message_bytes=4 * 1024 * 1024)
        port = await server.start("127.0.0.1:0")
        stack.push_async_callback(server.stop, 0.0)
        yield Endpoint(f"http://127.0.0.1:{port}", KEY)
