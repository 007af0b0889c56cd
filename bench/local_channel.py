"""Calls and streams over a local channel and over loopback TCP in one run: medians, and how far they are apart."""

import argparse
import statistics
import time
from collections.abc import Awaitable, Callable

import grpc
import uvloop
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1 import echo_service_pb2_grpc as rpc

from services.mesh.channel.local import LocalChannel
from services.mesh.channel.remote import RemoteChannel
from services.mesh.handlers import collect


class Instant(rpc.EchoServiceServicer):
    """The least a servicer can do, so that the transport is what is measured."""

    async def Echo(self, request, context):  # type: ignore[no-untyped-def]
        return pb.EchoResponse(text=request.text)

    async def StreamEcho(self, request, context):  # type: ignore[no-untyped-def]
        for sequence in range(request.script.count):
            yield pb.StreamEchoResponse(sequence=sequence)

    async def CollectEchoes(self, request_iterator, context):  # type: ignore[no-untyped-def]
        count = 0
        async for _ in request_iterator:
            count += 1
        return pb.CollectEchoesResponse(count=count)

    async def ChatEchoes(self, request_iterator, context):  # type: ignore[no-untyped-def]
        async for request in request_iterator:
            yield pb.ChatEchoesResponse(text=request.text)


async def median(call: Callable[[], Awaitable[object]], times: int) -> float:
    """Median duration of a call in microseconds, after a tenth as many to warm up."""
    for _ in range(times // 10):
        await call()
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        await call()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations) * 1e6


async def measure(channel: grpc.aio.Channel, calls: int, messages: int) -> tuple[float, float, float]:
    """Unary call without and with deadline and metadata (µs), and messages per second of a server stream."""
    stub = rpc.EchoServiceStub(channel)
    request = pb.EchoRequest(text="hello")
    metadata = (("x-test-a", "1"), ("x-test-b", "2"))

    async def bare() -> object:
        return await stub.Echo(request)

    async def dressed() -> object:
        return await stub.Echo(request, timeout=30, metadata=metadata)

    plain, full = await median(bare, calls), await median(dressed, calls)
    started = time.perf_counter()
    async for _ in stub.StreamEcho(pb.StreamEchoRequest(script=pb.Script(count=messages))):
        pass
    return plain, full, messages / (time.perf_counter() - started)


async def main(calls: int) -> None:
    """Measure both and print a table."""
    server = grpc.aio.server()
    rpc.add_EchoServiceServicer_to_server(Instant(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    local = LocalChannel(collect([(rpc.add_EchoServiceServicer_to_server, Instant())]))
    remote = RemoteChannel(f"127.0.0.1:{port}")
    rows = {
        "local": await measure(local, calls, calls * 5),
        "tcp": await measure(remote, max(calls // 10, 100), calls),
    }
    print(f"{'':8}{'unary µs':>12}{'with deadline and metadata':>30}{'stream messages/s':>20}")
    for name, (plain, full, rate) in rows.items():
        print(f"{name:8}{plain:12.1f}{full:30.1f}{rate:20,.0f}")
    print(f"local is {rows['tcp'][1] / rows['local'][1]:.0f} times as fast as TCP")
    await local.close()
    await remote.close()
    await server.stop(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    uvloop.run(main(parser.parse_args().calls))
