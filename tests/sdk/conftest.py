"""A real gRPC server with fakes of the services behind the mesh's pipeline, a whole stack, and clients of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest
from somamesh import AsyncClient

from services.mesh.call.authenticator import DevAuthenticator
from services.mesh.testing.neighbours import served
from tests.e2e.stack import Stack
from tests.fakes.catalog import FakeCatalog
from tests.fakes.chat import FakeChat
from tests.fakes.costs import FakeCosts
from tests.fakes.responses import FakeResponses
from tests.sdk.drivers import Driver, driving
from tests.sdk.kept import KeptMemory
from tests.sdk.neighbours import PLAIN, RECORDS, OneModel, OneRule, said_and_asked
from tests.sdk.trouble import Trouble

KEY = "sk-test"


@dataclass(frozen=True)
class Server:
    """A running server and its services; all but the chat are behind `trouble`."""

    url: str
    chat: FakeChat
    memory: KeptMemory
    responses: FakeResponses
    trouble: Trouble


@asynccontextmanager
async def serving(credentials: grpc.ServerCredentials | None = None, *more: object) -> AsyncIterator[Server]:
    """A server on a free port, with TLS when it is given credentials; with `more` servicers beside the mesh's own."""
    trouble = Trouble()
    # Only what the tests of the SDK call, so that a new RPC does not have to be added here.
    memory = KeptMemory()  # type: ignore[abstract]
    chat, responses = FakeChat(), FakeResponses(said_and_asked())
    others = (memory, responses, OneModel(), FakeCatalog([PLAIN]), FakeCosts(RECORDS, page_size=2), OneRule())
    servicers = (chat, *map(trouble.before, others), *more)
    async with served(*servicers, authenticator=DevAuthenticator(KEY), credentials=credentials) as server:
        scheme = "http" if credentials is None else "https"
        yield Server(f"{scheme}://{server.address}", chat, memory, responses, trouble)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server for one test."""
    async with serving() as running:
        yield running


@pytest.fixture
async def soma(server: Server) -> AsyncIterator[AsyncClient]:
    """The client for asyncio."""
    async with AsyncClient(server.url, KEY) as client:
        yield client


@pytest.fixture(params=["sync", "async"])
async def client(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Driver]:
    """Both clients, one after the other."""
    async with driving(request.param, server.url, KEY) as driver:
        yield driver


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A whole stack with default settings; its model is the local one."""
    running = Stack(tmp_path_factory.mktemp("sdk"))
    try:
        await running.up()
        yield running
    finally:
        await running.down()


def pointing(url: str, key: str) -> tuple[str, ...]:
    """The beginning of a command line that tells the command the URL and the key of the mesh."""
    return "env", f"SOMA_API_URL={url}", f"SOMA_API_KEY={key}"
