"""The edge on a real HTTP port, over scripted services behind the mesh's pipeline on a real socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from openai import AsyncOpenAI
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub, add_CatalogServiceServicer_to_server
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub, add_ChatServiceServicer_to_server

from gateway.edge.app import Edge
from gateway.edge.catalogue import Catalogue
from gateway.edge.chat import ChatCompletions
from gateway.edge.settings import EdgeSettings
from gateway.edge.tracing import RequestTracing
from services.mesh.authenticator import DevAuthenticator
from services.mesh.handlers import collect, register
from services.mesh.http import HttpServer
from services.mesh.interceptors.validation import validation
from services.mesh.pipeline import Pipeline
from services.mesh.spans import Spans
from tests.gateway.edge.scripted import ScriptedCatalog, ScriptedChat, spoken

KEY = "sk-test"


@dataclass(frozen=True)
class Stand:
    """A running edge and what it stands on."""

    url: str
    chat: ScriptedChat
    catalog: ScriptedCatalog
    backend: grpc.aio.Server
    edge: Edge


@asynccontextmanager
async def serving(app: object) -> AsyncIterator[str]:
    """Serve an ASGI application on a free port; yields its URL."""
    server = HttpServer(app)
    port = await server.start("127.0.0.1")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop()


@asynccontextmanager
async def standing(directory: Path) -> AsyncIterator[Stand]:
    """An edge of one's own, for a test that breaks it."""
    chat, catalog = ScriptedChat(), ScriptedCatalog()
    servicers = (
        (add_ChatServiceServicer_to_server, chat),
        (add_CatalogServiceServicer_to_server, catalog),
    )
    backend = grpc.aio.server()
    register(backend, Pipeline([validation]).wrap_all(collect(servicers)))
    address = f"unix:{directory}/backend"
    backend.add_insecure_port(address)
    await backend.start()
    settings = EdgeSettings(body_limit_bytes=64 * 1024)
    async with grpc.aio.insecure_channel(address) as channel:
        edge = Edge(
            DevAuthenticator(KEY),
            ChatCompletions(ChatServiceStub(channel), settings.chat_timeout_seconds),
            Catalogue(CatalogServiceStub(channel), settings.catalogue_timeout_seconds),
            RequestTracing(Spans("edge", None), 0.0),
            settings,
        )
        async with serving(edge) as url:
            yield Stand(url, chat, catalog, backend, edge)
    await backend.stop(None)


@pytest.fixture(scope="session")
async def shared_stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with standing(tmp_path_factory.mktemp("edge")) as stand:
        yield stand


@pytest.fixture
def stand(shared_stand: Stand) -> Stand:
    """The shared edge, its services back at their first script."""
    shared_stand.chat.reset(spoken("Hello", ", world"))
    shared_stand.catalog.failure = None
    return shared_stand


@pytest.fixture
async def http(stand: Stand) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client that holds the key."""
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=stand.url, headers=headers) as client:
        yield client


@pytest.fixture
async def openai(stand: Stand) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's own client; it never retries, so that a test sees each answer."""
    async with AsyncOpenAI(base_url=f"{stand.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client
