"""The edge on a real HTTP port, over scripted services behind the mesh's pipeline, in one process and over a socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from openai import AsyncOpenAI
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub, add_CatalogServiceServicer_to_server
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub, add_ModelServiceServicer_to_server
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub, add_ChatServiceServicer_to_server
from soma.orchestrator.v1.response_service_pb2_grpc import (
    ResponseServiceStub,
    add_ResponseServiceServicer_to_server,
)

from gateway.edge.app import Edge
from gateway.edge.catalogue import Catalogue
from gateway.edge.chat import ChatCompletions
from gateway.edge.embeddings import Embeddings
from gateway.edge.input_items import InputItems
from gateway.edge.responses import Responses
from gateway.edge.settings import EdgeSettings
from gateway.edge.tracing import RequestTracing
from services.mesh.authenticator import DevAuthenticator
from services.mesh.call import current_call
from services.mesh.carrier import LocalCarrier, RemoteCarrier
from services.mesh.channel.local import LocalChannel
from services.mesh.channel.remote import RemoteChannel
from services.mesh.handlers import collect, register
from services.mesh.http import HttpServer
from services.mesh.interceptors.drain import Drain
from services.mesh.routing import RoutedChannel
from services.mesh.spans import Spans
from services.mesh.stack import pipeline
from services.mesh.token import Signer
from tests.gateway.edge.scripted import (
    ScriptedCatalog,
    ScriptedChat,
    ScriptedEmbedder,
    ScriptedResponses,
    answered,
    spoken,
)

KEY = "sk-test"


@dataclass(frozen=True)
class Stand:
    """A running edge and what it stands on."""

    url: str
    chat: ScriptedChat
    responses: ScriptedResponses
    embedder: ScriptedEmbedder
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
async def standing(
    transport: str, directory: Path, exporter: InMemorySpanExporter | None = None
) -> AsyncIterator[Stand]:
    """An edge over a `local` channel, as in one process, or a `socket`, as over several."""
    chat, responses, catalog = ScriptedChat(), ScriptedResponses(), ScriptedCatalog()
    embedder = ScriptedEmbedder()  # type: ignore[abstract]  # only what the edge asks
    chat.reset(spoken("Hello", ", world"))
    servicers = (
        (add_ChatServiceServicer_to_server, chat),
        (add_ResponseServiceServicer_to_server, responses),
        (add_ModelServiceServicer_to_server, embedder),
        (add_CatalogServiceServicer_to_server, catalog),
    )
    authenticator, signer = DevAuthenticator(KEY), Signer(b"k" * 32, "test")
    spans = Spans("edge", None, exporter)
    wrap = pipeline(authenticator=authenticator, signer=signer, spans=spans, drain=Drain(), sample_ratio=0.0)
    handlers = wrap.wrap_all(collect(servicers))
    backend = grpc.aio.server()
    register(backend, handlers)
    address = f"unix:{directory}/backend"
    backend.add_insecure_port(address)
    await backend.start()
    carrying = (
        LocalChannel(handlers, capture=current_call, outgoing=LocalCarrier())
        if transport == "local"
        else RemoteChannel(address, outgoing=RemoteCarrier(signer))
    )
    channel = RoutedChannel(lambda: carrying)
    settings = EdgeSettings(body_limit_bytes=64 * 1024)
    edge = Edge(
        authenticator,
        ChatCompletions(ChatServiceStub(channel), settings.chat_timeout_seconds),
        Responses(ResponseServiceStub(channel), settings.chat_timeout_seconds, settings.store_timeout_seconds),
        InputItems(ResponseServiceStub(channel), settings.store_timeout_seconds),
        Embeddings(ModelServiceStub(channel), settings.embedding_timeout_seconds),
        Catalogue(CatalogServiceStub(channel), settings.catalogue_timeout_seconds),
        RequestTracing(spans, 0.0),
        settings,
    )
    async with serving(edge) as url:
        yield Stand(url, chat, responses, embedder, catalog, backend, edge)
    spans.close()
    await carrying.close()
    await backend.stop(None)


@pytest.fixture(scope="session", params=["local", "socket"])
async def shared_stand(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stand]:
    async with standing(request.param, tmp_path_factory.mktemp("edge")) as stand:
        yield stand


@pytest.fixture
def stand(shared_stand: Stand) -> Stand:
    """The shared edge, its services back at their first script."""
    shared_stand.chat.reset(spoken("Hello", ", world"))
    shared_stand.responses.reset(answered("Hello", ", world"))
    shared_stand.embedder.requests.clear()
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
