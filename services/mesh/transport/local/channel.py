"""The local channel: generated stubs call servicers of the same process, with gRPC's semantics and without a socket."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from services.mesh.call.carrier import Carrier
from services.mesh.call.pipeline import Handler
from services.mesh.transport.channel import Channel, Kind, Parse, Serialize
from services.mesh.transport.limits import MESSAGE_BYTES
from services.mesh.transport.local.crossing import Crossing, as_on_a_socket, copying
from services.mesh.transport.local.deadlines import Deadlines
from services.mesh.transport.local.exchange import Exchange
from services.mesh.transport.local.methods import METHODS
from services.mesh.transport.local.outcome import CANCELLED


class LocalChannel(Channel):
    """A `grpc.aio.Channel` to servicers of this process.

    A call is one task of the servicer in an empty context; a servicer that waits for nothing may be a plain function,
    which answers before the call is returned. Deadline, cancellation both ways, metadata, status and
    backpressure work as on a socket; messages are copied, never shared. The channel belongs to the event loop in which
    it is made.

    Args:
        handlers: by full method name; their functions are `async def` (or async generators) of (request or request
            iterator, context).
        capture: called at the start of each call in its caller's context; the result is the servicer's
            `context.carried`.
        outgoing: says the timeout and metadata of each call.
        strict: also do what otherwise only a socket does: serialise messages, check metadata, and keep the limits.
        max_message_bytes: the largest message received, if `strict`.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        capture: Callable[[], object] | None = None,
        outgoing: Carrier | None = None,
        strict: bool = False,
        max_message_bytes: int = MESSAGE_BYTES,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.deadlines = Deadlines(self.loop)
        self.exchanges: set[Exchange] = set()
        self.capture = capture
        self.outgoing = outgoing
        self.strict = strict
        self._max_message_bytes = max_message_bytes
        self.closed = False
        self._handlers = handlers
        self._closing = asyncio.Event()

    @property
    def calls(self) -> int:
        """How many calls have not ended yet for their caller or for their servicer."""
        return len(self.exchanges)

    def method(self, kind: Kind, path: str, serialize: Serialize, parse: Parse, _: bool | None) -> Any:
        """The method, which is served by the handler that the path has now."""
        return METHODS[kind](self, path, *self._crossings(kind, path, serialize, parse))

    def _crossings(
        self, kind: Kind, path: str, serialize: Serialize, parse: Parse
    ) -> tuple[Callable[[Any, Any], Any] | None, Crossing, Crossing]:
        """The servicer's function, and how requests and responses reach the other side."""
        handler = self._handlers.get(path)
        behaviour = getattr(handler, kind, None)
        if handler is None or behaviour is None:
            return None, copying(serialize, None), copying(None, parse)
        if self.strict:
            most = self._max_message_bytes
            ask = as_on_a_socket(serialize, handler.request_deserializer, "SERVER", most)
            return behaviour, ask, as_on_a_socket(handler.response_serializer, parse, "CLIENT", most)
        return behaviour, copying(serialize, handler.request_deserializer), copying(handler.response_serializer, parse)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """READY until closed."""
        return grpc.ChannelConnectivity.SHUTDOWN if self.closed else grpc.ChannelConnectivity.READY

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return once the state differs from the one given."""
        if self.get_state() is last_observed_state:
            await self._closing.wait()

    async def channel_ready(self) -> None:
        """Return at once: a local channel is always connected."""

    async def close(self, grace: float | None = None) -> None:
        """Refuse new calls, give running ones `grace` seconds, cancel the rest, and wait for their servicers to end."""
        self.closed = True
        self._closing.set()
        if grace:
            await self._quiet(grace)
        for exchange in list(self.exchanges):
            exchange.interrupt(CANCELLED)
        await self._quiet(None)
        self.deadlines.close()

    async def _quiet(self, seconds: float | None) -> None:
        me = asyncio.current_task()
        tasks = [task for exchange in self.exchanges if (task := exchange.serving) is not None and task is not me]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
