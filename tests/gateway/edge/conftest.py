"""The edge on a real HTTP port; its neighbours are fakes behind the mesh's pipeline, in its process or another."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from openai import AsyncOpenAI
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from soma.model.v1.catalog_service_pb2 import Model

from gateway.edge.main import SERVICE
from gateway.edge.settings import EdgeSettings
from services.mesh.blobs.blobs import Blobs
from services.mesh.blobs.directory import Directory
from services.mesh.call.authenticator import DevAuthenticator
from services.mesh.call.spans import Spans
from services.mesh.stores.redis import open_client
from services.mesh.surfaces.application import BySurface
from services.mesh.testing.hosted import Neighbour, hosted
from services.mesh.testing.neighbours import served
from services.mesh.transport.http import HttpServer
from services.mesh.transport.server import Server
from tests.fakes.catalog import FakeCatalog
from tests.fakes.chat import FakeChat, spoken
from tests.fakes.embedder import FakeEmbedder
from tests.fakes.responses import FakeResponses, answered, response_id
from tests.servers import RedisServer

KEY = "sk-test"
# The id of the first response that a test makes.
RESPONSE_ID = response_id(1)
MODELS = (
    Model(name="lab/small", provider="lab", owned_by="the lab", create_time=Timestamp(seconds=1_700_000_000)),
    Model(name="plain", provider="local", default=True),
)


@dataclass(frozen=True)
class Stand:
    """A running edge and the fakes of its neighbours."""

    url: str
    chat: FakeChat
    responses: FakeResponses
    embedder: FakeEmbedder
    catalog: FakeCatalog
    backend: Server
    edge: Any
    blobs: Blobs


@asynccontextmanager
async def serving(app: object) -> AsyncIterator[str]:
    """Serve an ASGI application on a free port; yields its URL."""
    server = HttpServer(app, websockets=True)
    port = await server.start("127.0.0.1")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop()


@asynccontextmanager
async def standing(
    transport: str, redis_url: str, exporter: InMemorySpanExporter | None = None
) -> AsyncIterator[Stand]:
    """An edge whose neighbours are in its own process (`local`), or in another process (`socket`)."""
    chat, responses, catalog = FakeChat(), FakeResponses(answered("Hello", ", world")), FakeCatalog(MODELS)
    embedder = FakeEmbedder("small-embed", lambda text, place: (len(text), place))
    # The bytes of a request are held in memory, and nothing is written into the directory.
    spans, blobs = Spans("edge", None, exporter), Blobs(Directory(Path(".somamesh/blobs")))
    async with AsyncExitStack() as stack:
        stack.callback(spans.close)
        backend = await stack.enter_async_context(served(chat, responses, embedder, catalog, spans=spans))
        neighbours: Mapping[str, Neighbour] = {"orchestrator": (chat, responses), "model": (embedder, catalog)}
        edge = await stack.enter_async_context(
            hosted(
                SERVICE,
                neighbours=neighbours if transport == "local" else dict.fromkeys(neighbours, backend.address),
                settings=EdgeSettings(body_limit_bytes=64 * 1024),
                blobs=blobs,
                redis=await stack.enter_async_context(open_client(redis_url)),
                authenticator=DevAuthenticator(KEY),
                spans=spans,
            )
        )
        app = BySurface(edge.service.surfaces)
        url = await stack.enter_async_context(serving(app))
        yield Stand(url, chat, responses, embedder, catalog, backend.server, app, blobs)


@pytest.fixture(scope="session", params=["local", "socket"])
async def shared_stand(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Stand]:
    async with standing(request.param, redis_server.url) as stand:
        yield stand


@pytest.fixture
def stand(shared_stand: Stand) -> Stand:
    """The shared edge, whose neighbours are reset."""
    shared_stand.chat.reset(spoken("Hello", ", world"))
    shared_stand.responses.reset(answered("Hello", ", world"))
    shared_stand.embedder.requests.clear()
    shared_stand.embedder.counted.clear()
    shared_stand.embedder.estimates = False
    shared_stand.catalog.failure = None
    return shared_stand


@pytest.fixture
async def http(stand: Stand) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client that sends the key."""
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=stand.url, headers=headers) as client:
        yield client


@pytest.fixture
async def openai(stand: Stand) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's own client; it never retries, so that a test sees each answer."""
    async with AsyncOpenAI(base_url=f"{stand.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client
