"""A real gRPC server with scripted services behind the mesh's pipeline, a whole stack, and clients of them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest
from soma.memory.v1.memory_service_pb2_grpc import add_MemoryServiceServicer_to_server
from soma.model.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server
from soma.model.v1.cost_service_pb2_grpc import add_CostServiceServicer_to_server
from soma.model.v1.model_service_pb2_grpc import add_ModelServiceServicer_to_server
from soma.orchestrator.v1.chat_service_pb2_grpc import add_ChatServiceServicer_to_server
from soma.orchestrator.v1.response_service_pb2_grpc import add_ResponseServiceServicer_to_server
from soma.policy.v1.policy_service_pb2_grpc import add_PolicyServiceServicer_to_server
from somamesh import AsyncClient

from services.mesh.call.authenticator import DevAuthenticator
from services.mesh.call.handlers import collect, register
from services.mesh.call.interceptors.drain import Drain
from services.mesh.call.spans import Spans
from services.mesh.call.stack import pipeline
from services.mesh.call.token import Signer
from services.mesh.service import Registration
from tests.e2e.stack import Stack
from tests.sdk.drivers import Driver, driving
from tests.sdk.kept import KeptCatalogue, KeptLedger, KeptMemory, KeptRules, Trouble
from tests.sdk.kept_responses import KeptResponses
from tests.sdk.scripted import OneModel, ScriptedChat

KEY = "sk-test"


@dataclass(frozen=True)
class Server:
    """A running server and its services."""

    url: str
    chat: ScriptedChat
    memory: KeptMemory
    responses: KeptResponses
    trouble: Trouble


@asynccontextmanager
async def serving(
    credentials: grpc.ServerCredentials | None = None, more: Sequence[Registration] = ()
) -> AsyncIterator[Server]:
    """A server on a free port, with TLS when it is given credentials; with `more` services beside the mesh's own."""
    trouble = Trouble()
    chat, memory, responses = ScriptedChat(), KeptMemory(trouble), KeptResponses(trouble)
    servicers: Sequence[Registration] = (
        (add_ChatServiceServicer_to_server, chat),
        (add_MemoryServiceServicer_to_server, memory),
        (add_ModelServiceServicer_to_server, OneModel(trouble)),
        (add_CatalogServiceServicer_to_server, KeptCatalogue(trouble)),
        (add_CostServiceServicer_to_server, KeptLedger(trouble)),
        (add_ResponseServiceServicer_to_server, responses),
        (add_PolicyServiceServicer_to_server, KeptRules(trouble)),
        *more,
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
    if credentials is None:
        url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        url = f"https://127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    await server.start()
    yield Server(url, chat, memory, responses, trouble)
    await server.stop(None)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server of the test's own."""
    async with serving() as running:
        yield running


@pytest.fixture
async def soma(server: Server) -> AsyncIterator[AsyncClient]:
    """The client for asyncio."""
    async with AsyncClient(server.url, KEY) as client:
        yield client


@pytest.fixture(params=["sync", "async"])
async def client(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Driver]:
    """Each client in turn."""
    async with driving(request.param, server.url, KEY) as driver:
        yield driver


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A whole stack as it is without any settings: its model is the local one."""
    running = Stack(tmp_path_factory.mktemp("sdk"))
    try:
        await running.up()
        yield running
    finally:
        await running.down()


def pointing(url: str, key: str) -> tuple[str, ...]:
    """What goes before a command, to tell it where the mesh is."""
    return "env", f"SOMA_API_URL={url}", f"SOMA_API_KEY={key}"
