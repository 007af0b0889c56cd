"""Whether a plain channel of the pinned grpcio ends an abandoned stream (docs/decisions/0016)."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import grpc

from services.mesh.testing.waiting import until

STREAMS = 20


async def test_streams_without_a_reference_are_cancelled() -> None:
    open_streams = 0

    async def endless(request: bytes, context: Any) -> AsyncIterator[bytes]:
        nonlocal open_streams
        open_streams += 1
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            open_streams -= 1

    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_stream_rpc_method_handler(endless)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Plain", {"Endless": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            ask: Any = channel.unary_stream("/test.Plain/Endless")
            calls = [ask(b"") for _ in range(STREAMS)]
            assert [await call.read() for call in calls] == [b"first"] * STREAMS
            assert open_streams == STREAMS
            calls.clear()
            gc.collect()
            await until(lambda: open_streams == 0)
    finally:
        await server.stop(0)
