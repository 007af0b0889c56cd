"""EchoService behind each transport: one servicer, one pipeline, four ways to reach it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from soma.testing.v1 import echo_service_pb2_grpc as rpc

from services.mesh.call import current_call
from services.mesh.carrier import LocalCarrier
from services.mesh.channel.limits import server_options
from services.mesh.channel.local import LocalChannel
from services.mesh.channel.remote import RemoteChannel
from services.mesh.handlers import collect, decoding, register
from services.mesh.interceptors.deadline import deadline
from services.mesh.interceptors.drain import Drain
from services.mesh.pipeline import Pipeline
from services.mesh.testing.echo import EchoServicer, Tally

LOCAL = ("local", "strict")
SOCKETS = ("unix", "tcp")


@dataclass(frozen=True)
class Difference:
    """A way in which some transports do not behave like the rest, and why that is so."""

    transports: tuple[str, ...]
    reason: str


# Everything the suite does not ask of every transport alike. A test that needs one of these names it.
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
        SOCKETS, "after a cancellation grpc.aio's context says neither done nor cancelled"
    ),
    "buffers by bytes": Difference(SOCKETS, "flow control counts bytes, about 4 MiB a stream; locally, messages"),
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
        """Calls the channel or the servicer's process still knows."""
        return self.drain.active + (self.channel.calls if isinstance(self.channel, LocalChannel) else 0)

    async def quiet(self) -> None:
        """Wait until no call is being served."""
        await until(lambda: self.tally.running == 0 and self.calls == 0)

    async def steady(self, count: Callable[[], int], turns: int = 10) -> int:
        """Wait until a count stays the same for some turns; returns it."""
        seen = [count()]

        def same() -> bool:
            seen.append(count())
            return len(seen) > turns and len(set(seen[-turns:])) == 1

        await until(same)
        return seen[-1]


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Give the event loop turns until a condition holds."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 conditions here are counts of grpc, asyncio and the kernel
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"still not so after {seconds} seconds")


@dataclass(frozen=True)
class Residue:
    """What calls could leave behind."""

    tasks: int
    descriptors: int

    @classmethod
    def now(cls) -> "Residue":
        """Count."""
        return cls(len(asyncio.all_tasks()), psutil.Process().num_fds())

    def within(self, before: "Residue") -> bool:
        """Whether nothing was added; what others left may have gone meanwhile."""
        return self.tasks <= before.tasks and self.descriptors <= before.descriptors


@pytest.fixture(params=[*LOCAL, *SOCKETS])
async def wire(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Wire]:
    """EchoService on one transport, with the pipeline's end of a call and its deadline."""
    transport: str = request.param
    drain = Drain()
    stubs: list[rpc.EchoServiceAsyncStub] = []
    echo = EchoServicer(peer=lambda: stubs[0])
    pipeline = Pipeline((drain.bind, deadline))
    handlers = pipeline.wrap_all(collect([(rpc.add_EchoServiceServicer_to_server, echo)]))
    server: Any = None
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
        channel = RemoteChannel(target, outgoing=LocalCarrier())
        await channel.channel_ready()
    stubs.append(rpc.EchoServiceStub(channel))
    yield Wire(transport, stubs[0], channel, echo.tally, drain)
    await channel.close()
    if server is not None:
        await server.stop(0)
