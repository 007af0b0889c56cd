"""EchoService behind the server of unary calls."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from soma.testing.v1 import echo_service_pb2_grpc as rpc

from services.mesh.call.handlers import collect
from services.mesh.call.interceptors.compression import compression
from services.mesh.call.interceptors.deadline import deadline
from services.mesh.call.interceptors.drain import Drain
from services.mesh.call.pipeline import Pipeline
from services.mesh.testing.echo import EchoServicer, Tally
from services.mesh.testing.waiting import until
from services.mesh.transport.unary.server import UnaryServer
from tests.mesh.transport.unary.client import Client, connected

LIMIT = 64 * 1024


@dataclass
class Served:
    """A server, and its state that a caller cannot see."""

    port: int
    server: UnaryServer
    drain: Drain
    tally: Tally

    async def running(self, calls: int) -> None:
        """Wait until this number of calls is being served."""
        await until(lambda: self.tally.running == calls)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server that accepts messages of up to 64 KiB."""
    drain, echo = Drain(), EchoServicer()
    wrap = Pipeline((drain.bind, deadline, compression))
    handlers = wrap.wrap_all(collect([(rpc.add_EchoServiceServicer_to_server, echo)]))
    server = UnaryServer(handlers, max_message_bytes=LIMIT)
    yield Served(await server.start("127.0.0.1"), server, drain, echo.tally)
    await server.stop()


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    """A connection to it."""
    async with connected(served.port) as connection:
        yield connection
