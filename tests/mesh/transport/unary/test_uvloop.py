"""What happens only on uvloop, the event loop of a real process."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import psutil
import pytest
import uvloop
from soma.testing.v1 import echo_service_pb2_grpc as rpc
from structlog.testing import capture_logs

from services.mesh.call import errors
from services.mesh.call.handlers import collect
from services.mesh.call.pipeline import Pipeline
from services.mesh.testing.echo import EchoServicer
from services.mesh.testing.waiting import until
from services.mesh.transport.unary.server import UnaryServer
from tests.mesh.transport.unary.client import connected, framed, message, request

RESET = struct.pack("ii", 1, 0)


class Stubborn(EchoServicer):
    """Answers although the caller has disconnected."""

    async def Echo(self, request: Any, context: Any) -> Any:
        try:
            return await super().Echo(request, context)
        except asyncio.CancelledError:
            if request.text == "fail":
                raise errors.Internal("cancelled") from None
            return await super().Echo(type(request)(), context)


async def complaints(
    servicer: EchoServicer, behaviour: Callable[[UnaryServer, int], Awaitable[None]]
) -> list[dict[str, Any]]:
    """The errors that the loop reports while a server runs on it; `behaviour` gets the server and its port."""
    heard: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        handlers = Pipeline(()).wrap_all(collect([(rpc.add_EchoServiceServicer_to_server, servicer)]))
        server = UnaryServer(handlers, max_message_bytes=1024)
        try:
            await behaviour(server, await server.start("127.0.0.1"))
        finally:
            await server.stop()

    # In another thread, because the tests have another loop.
    await asyncio.to_thread(lambda: uvloop.run(main()))
    return heard


async def test_connections_that_are_reset_before_they_are_accepted_leave_nothing() -> None:
    process = psutil.Process()

    async def behaviour(_server: UnaryServer, port: int) -> None:
        before = process.num_fds()
        for _turn in range(20):
            for _client in range(10):
                client = socket.create_connection(("127.0.0.1", port))
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
            async with connected(port) as last:
                assert (await last.ask(request(framed(message())))).status == 0
        await until(lambda: process.num_fds() <= before)

    assert await complaints(EchoServicer(), behaviour) == []


async def test_an_answer_to_a_client_that_has_disconnected_is_dropped() -> None:
    servicer = Stubborn()

    async def behaviour(_server: UnaryServer, port: int) -> None:
        for served, text in enumerate(("answer", "fail"), 1):
            async with connected(port) as client:
                client.writer.write(request(framed(message(text, delay_seconds=30))))
                await until(lambda served=served: servicer.tally.served >= served)  # type: ignore[misc]
            await until(lambda: servicer.tally.running == 0)

    with capture_logs() as logged:
        assert await complaints(servicer, behaviour) == []
    assert logged == []


@pytest.mark.parametrize("turns", range(8))
async def test_a_client_that_connects_while_the_server_stops_is_not_served(turns: int) -> None:
    async def behaviour(server: UnaryServer, port: int) -> None:
        # The kernel has accepted the connection. The number of turns decides how far the server has got with it.
        with socket.create_connection(("127.0.0.1", port)) as late:
            for _ in range(turns):
                await asyncio.sleep(0)
            await server.stop()
            late.setblocking(False)
            with suppress(ConnectionError):
                late.send(request(framed(message())))
                async with asyncio.timeout(10):
                    assert await asyncio.get_running_loop().sock_recv(late, 1) == b""

    assert await complaints(EchoServicer(), behaviour) == []
