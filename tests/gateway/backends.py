"""Backends for the gateway's tests: an EchoService that shows what reached it, and an HTTP edge."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import uvicorn
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1 import echo_service_pb2_grpc as rpc
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.xds.snapshot import Endpoint
from services.mesh.testing.waiting import until

Context = grpc.aio.ServicerContext[Any, Any]


class Echo(rpc.EchoServiceServicer):
    """Follows the parts of `Script` that these tests need, and counts the calls in progress."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.active = 0
        self.cancelled = asyncio.Event()
        self.entered = asyncio.Event()
        self.release = asyncio.Event()

    async def Echo(self, request: pb.EchoRequest, context: Context) -> pb.EchoResponse:
        with self._call():
            if request.text == "wait":
                await self.release.wait()
            await _fail(request.script, context)
            return pb.EchoResponse(
                text=self.name + request.text,
                observation=_observed(context),
                padding=bytes(request.script.padding_bytes),
            )

    async def StreamEcho(self, request: pb.StreamEchoRequest, context: Context) -> AsyncIterator[pb.StreamEchoResponse]:
        with self._call():
            await _fail(request.script, context)
            for sequence in range(request.script.count or 1):
                if sequence and request.text == "wait":
                    await self.release.wait()
                yield pb.StreamEchoResponse(text=self.name + request.text, sequence=sequence)

    async def CollectEchoes(
        self, requests: AsyncIterator[pb.CollectEchoesRequest], context: Context
    ) -> pb.CollectEchoesResponse:
        texts = [request.text async for request in requests]
        return pb.CollectEchoesResponse(count=len(texts), text="".join(texts))

    async def ChatEchoes(
        self, requests: AsyncIterator[pb.ChatEchoesRequest], context: Context
    ) -> AsyncIterator[pb.ChatEchoesResponse]:
        sequence = 0
        async for request in requests:
            yield pb.ChatEchoesResponse(text=self.name + request.text, sequence=sequence)
            sequence += 1

    @contextlib.contextmanager
    def _call(self) -> Any:
        self.active += 1
        self.entered.set()
        try:
            yield
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.active -= 1


def _observed(context: Context) -> pb.Observation:
    metadata = [f"{key}={value!s}" for key, value in context.invocation_metadata() or ()]
    return pb.Observation(metadata=metadata, time_remaining_seconds=context.time_remaining() or -1)


async def _fail(script: pb.Script, context: Context) -> None:
    if not script.fail_code:
        return
    detail = AnyMessage()
    detail.Pack(ErrorInfo(reason="SCRIPTED", domain="soma"))
    status = Status(code=script.fail_code, message=script.fail_message, details=[detail])
    code = next(code for code in grpc.StatusCode if code.value[0] == script.fail_code)
    trailing: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if script.retry_after_seconds:
        trailing.append(("retry-after", str(round(script.retry_after_seconds))))
    await context.abort(code, script.fail_message, trailing_metadata=tuple(trailing))


@contextlib.asynccontextmanager
async def serving(servicer: Echo, port: int = 0) -> AsyncIterator[Endpoint]:
    """Serve the servicer on a port of 127.0.0.1."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    rpc.add_EchoServiceServicer_to_server(servicer, server)
    endpoint = Endpoint("127.0.0.1", server.add_insecure_port(f"127.0.0.1:{port}"))
    await server.start()
    try:
        yield endpoint
    finally:
        await server.stop(grace=None)


async def _show(request: Request) -> Response:
    body = await request.body()
    return JSONResponse({"path": request.url.path, "bytes": len(body), "headers": dict(request.headers)})


async def _missing(request: Request, exc: Exception) -> Response:
    return JSONResponse({"error": {"message": "no such path", "type": "not_found"}}, status_code=404)


@contextlib.asynccontextmanager
async def edge(*paths: str) -> AsyncIterator[Endpoint]:
    """An ASGI application that answers with the request on `paths`, and with 404 on all others."""
    routes = [Route(path, _show, methods=["GET", "POST"]) for path in paths]
    app = Starlette(routes=routes, exception_handlers={404: _missing})
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    yield Endpoint("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    await task


@contextlib.asynccontextmanager
async def switching_protocols() -> AsyncIterator[Endpoint]:
    """A server that accepts any upgrade, and then sends back every byte."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()


@contextlib.contextmanager
def dead() -> Iterator[Endpoint]:
    """A port that refuses connections; no other process can get it meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Endpoint("127.0.0.1", bound.getsockname()[1])


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[Endpoint]:
    """A server that accepts connections and reads everything, and never answers."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()


@contextlib.asynccontextmanager
async def hanging_up() -> AsyncIterator[Endpoint]:
    """A server that closes each connection after the first bytes, as a killed process does."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()


@contextlib.asynccontextmanager
async def stalling(release: asyncio.Event) -> AsyncIterator[tuple[Endpoint, list[bytes]]]:
    """An HTTP server that answers after `release`; also yields the list of requests that it has read."""
    inside: list[bytes] = []

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside.append(await reader.readuntil(b"\r\n\r\n"))
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1]), inside
    server.close()
