"""A real gRPC server with scripted services behind the mesh's pipeline, and clients of it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest
from soma.memory.v1.memory_service_pb2_grpc import add_MemoryServiceServicer_to_server
from soma.model.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server
from soma.orchestrator.v1.chat_service_pb2_grpc import add_ChatServiceServicer_to_server
from somamesh import AsyncClient

from services.mesh.authenticator import DevAuthenticator
from services.mesh.handlers import collect, register
from services.mesh.interceptors.drain import Drain
from services.mesh.spans import Spans
from services.mesh.stack import pipeline
from services.mesh.token import Signer
from tests.sdk.scripted import KeptMemory, OneModel, ScriptedChat

KEY = "sk-test"


@dataclass(frozen=True)
class Server:
    """A running server and its services."""

    url: str
    chat: ScriptedChat
    memory: KeptMemory


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    chat, memory = ScriptedChat(), KeptMemory()  # type: ignore[abstract]  # what the client does not call is left unimplemented
    servicers = (
        (add_ChatServiceServicer_to_server, chat),
        (add_MemoryServiceServicer_to_server, memory),
        (add_CatalogServiceServicer_to_server, OneModel()),
    )
    wrap = pipeline(
        authenticator=DevAuthenticator(KEY),
        signer=Signer(b"k" * 32, "test"),
        spans=Spans("test", None),
        drain=Drain(),
        sample_ratio=0.0,
    )
    server = grpc.aio.server()
    register(server, wrap.wrap_all(collect(servicers)))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Server(f"http://127.0.0.1:{port}", chat, memory)
    await server.stop(None)


@pytest.fixture
async def soma(server: Server) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.url, KEY) as client:
        yield client
