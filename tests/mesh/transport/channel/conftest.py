"""EchoService behind each transport: one servicer, one pipeline, five ways to reach it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from soma.testing.v1 import echo_service_pb2_grpc as rpc

from gateway.xds.snapshot import Endpoint
from services.mesh.call.call import current_call
from services.mesh.call.carrier import LocalCarrier
from services.mesh.call.handlers import collect, decoding
from services.mesh.call.interceptors.deadline import deadline
from services.mesh.call.interceptors.drain import Drain
from services.mesh.call.pipeline import Pipeline
from services.mesh.testing.echo import EchoServicer, Tally
from services.mesh.testing.waiting import until
from services.mesh.transport.limits import MESSAGE_BYTES, server_options
from services.mesh.transport.local.channel import LocalChannel
from services.mesh.transport.remote.channel import RemoteChannel
from services.mesh.transport.routed import RoutedChannel
from services.mesh.transport.server import register
from services.mesh.transport.unary.server import UnaryServer
from tests.gateway.conftest import ECHO, Gateway

LOCAL = ("local", "strict")
DIRECT = ("unix", "tcp")
GATEWAY = ("gateway",)
SOCKETS = (*DIRECT, *GATEWAY)
# The headers that Envoy adds to every answer.
OF_THE_GATEWAY = frozenset({"date", "server", "x-request-id"})


@dataclass(frozen=True)
class Difference:
    """A difference in the behaviour of some transports, and its cause."""

    transports: tuple[str, ...]
    reason: str


# All differences between transports that the suite allows. A test that depends on one names it.
DIFFERENCES = {
    "no limits": Difference(
        ("local",), "messages are copied, not serialised, so their size is not known; `strict` is for finding out"
    ),
    "no transport metadata": Difference(LOCAL, "there is no user agent and no peer address inside a process"),
    "illegal metadata passes": Difference(("local",), "checking headers that never become bytes would cost each call"),
    "illegal metadata is a ValueError": Difference(
        ("strict",), "a socket raises an internal error of gRPC's core, which says nothing of the key at fault"
    ),
    "copies at the call": Difference(
        LOCAL, "a socket serialises later: a request changed after the call is sent changed"
    ),
    "rounds deadlines up": Difference(
        SOCKETS, "gRPC's core rounds the timeout it sends up by as much as 1 % a hop; the caller's own timer is exact"
    ),
    "cut uploads end": Difference(
        SOCKETS, "grpc.aio ends the request iterator as after half-close; so uploads mark their last message"
    ),
    "ends badly under writes": Difference(
        SOCKETS, "grpc.aio makes it INTERNAL when a request was being written just as the servicer ended with OK"
    ),
    "servicer is not told": Difference(
        DIRECT, "after a cancellation grpc.aio's context says neither done nor cancelled"
    ),
    "buffers by bytes": Difference(SOCKETS, "flow control counts bytes, about 4 MiB a stream; locally, messages"),
    "names its requests": Difference(GATEWAY, "a request without an id gets one, and a source; the service sees both"),
    "sets a deadline": Difference(GATEWAY, "a unary call without one ends after a minute, and its service is told so"),
    "is refused on its way": Difference(GATEWAY, "what is too large for a service does not get there, in other words"),
    "cuts long words short": Difference(
        GATEWAY,
        "who is told what is too long to tell would not know what went wrong: the status stays, and its beginning",
    ),
    "has a clock of its own": Difference(
        GATEWAY,
        "it ends a unary call whose time is over, and its word may be there before the caller's own timer strikes",
    ),
    "keeps connections": Difference(
        GATEWAY, "it has one to the service for each unary call at a time, and then for the next"
    ),
    "counts what is reset": Difference(
        GATEWAY, "who resets hundreds of calls that have begun is taken for an attacker"
    ),
    "leaks memory": Difference(SOCKETS, "gRPC's core keeps memory of cancelled calls (grpc/grpc#43360)"),
}


@dataclass
class Wire:
    """A transport under test."""

    transport: str
    stub: "rpc.EchoServiceAsyncStub"
    channel: LocalChannel | RemoteChannel
    tally: Tally
    drain: Drain

    def differs(self, difference: str) -> bool:
        """Whether this transport is listed under a difference."""
        return self.transport in DIFFERENCES[difference].transports

    @property
    def calls(self) -> int:
        """The number of calls that the channel or the process of the servicer still has."""
        return self.drain.active + (self.channel.calls if isinstance(self.channel, LocalChannel) else 0)

    def said(self, metadata: grpc.aio.Metadata) -> tuple[tuple[str, str | bytes], ...]:
        """Metadata of an answer, without what the transport adds to it."""
        ours = OF_THE_GATEWAY if self.transport in GATEWAY else ()
        return tuple(pair for pair in metadata if pair[0] not in ours)

    async def quiet(self) -> None:
        """Wait until no call is being served."""
        await until(lambda: self.tally.running == 0 and self.calls == 0)

    async def steady(self, count: Callable[[], int], turns: int = 10) -> int:
        """Wait until a count has not changed for some turns of the loop; returns it."""
        seen = [count()]

        def same() -> bool:
            seen.append(count())
            return len(seen) > turns and len(set(seen[-turns:])) == 1

        await until(same)
        return seen[-1]


@dataclass(frozen=True)
class Residue:
    """The resources that calls could leave behind."""

    tasks: int
    descriptors: int

    @classmethod
    def now(cls) -> "Residue":
        """The current resources."""
        return cls(len(asyncio.all_tasks()), psutil.Process().num_fds())

    def within(self, before: "Residue", spare: int = 0) -> bool:
        """Whether only spare connections were added; resources of earlier tests may have been released."""
        return self.tasks <= before.tasks and self.descriptors <= before.descriptors + spare


@pytest.fixture(scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """An Envoy that gets the endpoints of each test."""
    front = Gateway(tmp_path_factory.mktemp("gateway"))
    await front.start_control_plane()
    await front.start_envoy()
    await front.publish()
    await front.reachable()
    yield front
    await front.close()


@pytest.fixture(params=[*LOCAL, *SOCKETS])
async def wire(request: pytest.FixtureRequest, tmp_path: Path, gateway: Gateway) -> AsyncIterator[Wire]:
    """EchoService on one transport, with the interceptors that end a call and set its deadline."""
    transport: str = request.param
    drain = Drain()
    peers: list[rpc.EchoServiceAsyncStub] = []
    echo = EchoServicer(peer=lambda: peers[0])
    pipeline = Pipeline((drain.bind, deadline))
    handlers = pipeline.wrap_all(collect([(rpc.add_EchoServiceServicer_to_server, echo)]))
    server: Any = None
    unary: UnaryServer | None = None
    channel: LocalChannel | RemoteChannel
    if transport in LOCAL:
        channel = LocalChannel(handlers, capture=current_call, outgoing=LocalCarrier(), strict=transport == "strict")
    else:
        server = grpc.aio.server(options=server_options())
        register(server, decoding(handlers))
        address = f"unix:{tmp_path}/echo.sock" if transport == "unix" else "127.0.0.1:0"
        port = server.add_insecure_port(address)
        await server.start()
        target = address if transport == "unix" else f"127.0.0.1:{port}"
        if transport == "gateway":
            unary = UnaryServer(handlers, max_message_bytes=MESSAGE_BYTES)
            calls = Endpoint("127.0.0.1", await unary.start("127.0.0.1"))
            await gateway.publish(
                services={ECHO: (Endpoint("127.0.0.1", port),)}, unary={ECHO: (calls,)}, over_http1=frozenset({ECHO})
            )
            target = f"127.0.0.1:{gateway.port}"
        channel = RemoteChannel(target, outgoing=LocalCarrier())
        await channel.channel_ready()
    # A service calls others over a routed channel; the channel under test is the one of its clients.
    peers.append(rpc.EchoServiceStub(RoutedChannel(lambda: channel)))
    yield Wire(transport, rpc.EchoServiceStub(channel), channel, echo.tally, drain)
    await channel.close()
    if unary is not None:
        await unary.stop()
    if server is not None:
        await server.stop(0)
