"""The edge's WebSockets on a free port, over the logs of a real orchestrator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import redis.asyncio as aioredis
from websockets.asyncio.client import ClientConnection, connect

from gateway.edge import main as edge
from gateway.edge.settings import EdgeSettings
from services.mesh.call.authenticator import credential
from services.mesh.call.errors import Unauthenticated
from services.mesh.call.principal import Principal
from services.mesh.surfaces.application import BySurface
from services.mesh.testing.hosted import hosted
from services.mesh.transport.http import HttpServer
from services.orchestrator import main as orchestrator
from services.orchestrator.logs.entry import SESSION, Task, new_entry
from services.orchestrator.logs.store import RedisLogStore
from services.orchestrator.settings import OrchestratorSettings

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase


class KeyIsTheSubject:
    """Accepts `SUBJECT` and `SUBJECT-unscoped` as credentials of the tenant acme, until they are in `revoked`."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    async def authenticate(
        self, authorization: str | None, api_key: str | None, source: str | None = None
    ) -> Principal:
        key = credential(authorization, api_key)
        if key == "wrong" or key in self.revoked:
            raise Unauthenticated("the API key is not valid", reason="CREDENTIAL_INVALID")
        subject, _, unscoped = key.partition("-")
        return Principal("acme", subject, scopes=frozenset() if unscoped else frozenset({"read:logs"}))


@dataclass
class Stand:
    """A WebSocket server, and the log that it sends."""

    url: str
    store: RedisLogStore
    redis: aioredis.Redis
    revoked: set[str]

    @asynccontextmanager
    async def socket(self, query: str = "", key: str = "alex", path: str = "/ws/logs") -> AsyncIterator["Client"]:
        """A connected client."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        async with connect(f"{self.url}{path}{query}", additional_headers=headers, ping_interval=None) as connection:
            yield Client(connection)

    async def write(self, *messages: str, task: str = "t-1", level: str = "info", agent: str = "") -> None:
        """Add entries to the tenant's log."""
        about = Task(task, SESSION, agent)
        await self.store.append("acme", [new_entry(about, level, message, {"n": "1"}) for message in messages])


@dataclass
class Client:
    """A client that speaks JSON."""

    connection: ClientConnection

    async def hear(self) -> dict[str, Any]:
        """The next message."""
        async with asyncio.timeout(10):
            message: dict[str, Any] = orjson.loads(await self.connection.recv())
            return message

    async def say(self, message: object) -> None:
        """Send a message."""
        await self.connection.send(orjson.dumps(message).decode())

    async def ended(self) -> tuple[int | None, str]:
        """The code and the reason with which the server closed."""
        async with asyncio.timeout(10):
            await self.connection.wait_closed()
        return self.connection.close_code, self.connection.close_reason or ""


@asynccontextmanager
async def standing(database: "OwnedDatabase", client: aioredis.Redis, **settings: Any) -> AsyncIterator[Stand]:
    """An edge with these settings; its orchestrator has no neighbours."""
    keys = KeyIsTheSubject()
    async with (
        hosted(orchestrator.SERVICE, database=database, redis=client) as behind,
        hosted(
            edge.SERVICE,
            neighbours={"orchestrator": behind.servicers},
            settings=EdgeSettings(**settings),
            redis=client,
            authenticator=keys,
        ) as front,
        AsyncExitStack() as stack,
    ):
        server = HttpServer(BySurface(front.service.surfaces), websockets=True)
        port = await server.start("127.0.0.1")
        stack.push_async_callback(server.stop)
        store = RedisLogStore(client, OrchestratorSettings().log_bounds)
        yield Stand(f"ws://127.0.0.1:{port}", store, client, keys.revoked)


@pytest.fixture
async def stand(database: "OwnedDatabase", redis: aioredis.Redis) -> AsyncIterator[Stand]:
    """A server with the default settings."""
    async with standing(database, redis) as made:
        yield made
