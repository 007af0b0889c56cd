"""A unary call through the whole pipeline: over the local channel, and over loopback TCP."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1 import echo_service_pb2_grpc as rpc

from bench.environment import Environment
from bench.table import Row
from services.mesh.call.authenticator import DEV_PRINCIPAL
from services.mesh.call.call import run_as
from services.mesh.call.carrier import RemoteCarrier
from services.mesh.call.spans import Spans
from services.mesh.call.trace import new_trace
from services.mesh.testing.echo import EchoServicer
from services.mesh.testing.local import SIGNER, LocalMesh
from services.mesh.transport.remote.channel import RemoteChannel
from services.mesh.transport.server import Server

ROUNDS = 5
CALLS, CALLS_OVER_TCP, MESSAGES = 4000, 600, 20_000


class Instant(EchoServicer):
    """A servicer that does as little as possible, so that only the path to it is measured."""

    async def Echo(self, request: pb.EchoRequest, context: Any) -> pb.EchoResponse:
        return pb.EchoResponse(text=request.text)

    async def StreamEcho(self, request: pb.StreamEchoRequest, context: Any) -> AsyncIterator[pb.StreamEchoResponse]:
        for _ in range(request.script.count):
            yield pb.StreamEchoResponse()


async def measure(_: Environment) -> list[Row]:
    """Measure the median duration of a call on both transports in turn, and the messages per second of a stream."""
    exporter = InMemorySpanExporter()
    mesh = LocalMesh(
        [(rpc.add_EchoServiceServicer_to_server, Instant())], spans=Spans("bench", None, exporter=exporter)
    )
    server = Server(mesh.handlers, mesh.drain, max_message_bytes=4 << 20)
    remote = RemoteChannel(f"127.0.0.1:{await server.start('127.0.0.1:0')}", outgoing=RemoteCarrier(SIGNER))
    plain: list[float] = []
    sampled: list[float] = []
    tcp: list[float] = []
    streams: dict[str, list[float]] = {"local": [], "tcp": []}
    for _round in range(ROUNDS):
        plain.append(await median(mesh.channel, CALLS, sampled=False))
        exporter.clear()
        sampled.append(await median(mesh.channel, CALLS, sampled=True))
        tcp.append(await median(remote, CALLS_OVER_TCP, sampled=False))
        streams["local"].append(await streamed(mesh.channel, MESSAGES))
        streams["tcp"].append(await streamed(remote, MESSAGES // 10))
    spans = len(exporter.get_finished_spans())
    await mesh.channel.close()
    await remote.close()
    await server.stop(0)
    assert spans > 0, "the sampled calls recorded no span"
    here, recorded, over_tcp = (statistics.median(values) for values in (plain, sampled, tcp))
    local_rate, tcp_rate = (statistics.median(streams[name]) for name in ("local", "tcp"))
    beside = f"{over_tcp:.0f} µs loopback TCP"
    return [
        Row(
            "unary call, local channel, trace not sampled",
            f"{here:.1f} µs",
            beside,
            f"{over_tcp / here:.1f}× faster",
            "≤ 60 µs, ≥ 6×",
            here <= 60 and over_tcp >= 6 * here,
        ),
        Row(
            "the same, trace sampled and exported",
            f"{recorded:.1f} µs",
            beside,
            f"{over_tcp / recorded:.1f}× faster",
            "≤ 120 µs",
            recorded <= 120,
        ),
        Row(
            "server stream, local channel",
            f"{local_rate:,.0f} messages/s",
            f"{tcp_rate:,.0f} loopback TCP",
            f"{local_rate / tcp_rate:.0f}×",
            "",
            None,
        ),
    ]


async def median(channel: grpc.aio.Channel, calls: int, *, sampled: bool) -> float:
    """The median duration of a call with a deadline, in microseconds.

    A tenth of the calls come before, as a warm-up.
    """
    stub = rpc.EchoServiceStub(channel)
    request = pb.EchoRequest(text="hello")
    durations = []
    with run_as(DEV_PRINCIPAL, trace=new_trace(1.1 if sampled else 0.0)):
        for call in range(calls + calls // 10):
            started = time.perf_counter()
            await stub.Echo(request, timeout=5)
            if call >= calls // 10:
                durations.append(time.perf_counter() - started)
    return statistics.median(durations) * 1e6


async def streamed(channel: grpc.aio.Channel, messages: int) -> float:
    """Messages per second of one server stream."""
    stub = rpc.EchoServiceStub(channel)
    got = 0
    with run_as(DEV_PRINCIPAL, trace=new_trace(0.0)):
        started = time.perf_counter()
        async for _ in stub.StreamEcho(pb.StreamEchoRequest(script=pb.Script(count=messages))):
            got += 1
    assert got == messages, f"{got} of {messages} messages arrived"
    await asyncio.sleep(0)
    return messages / (time.perf_counter() - started)
