"""Where a call to a service goes: into this process, to an endpoint of the directory, or nowhere for now."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import grpc
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.method import method
from services.mesh.call.pipeline import Context, Handler, Pipeline
from services.mesh.call.status import AS_MESH_ERRORS
from services.mesh.process.registry.directory import Directory
from services.mesh.transport.local.channel import LocalChannel
from services.mesh.transport.outgoing import Outgoing
from services.mesh.transport.remote.channel import RemoteChannel
from services.mesh.transport.tls.names import host_of

if TYPE_CHECKING:
    from services.mesh.transport.tls.identity import Identity

# A channel that is let go stays for the calls on it, which may be streams of hours: their deadline ends them, or the
# process at the other end, which says why when it goes, or its silence.
_CALLS_LAST_SECONDS = 7 * 86_400.0

Carrying: TypeAlias = LocalChannel | RemoteChannel
"""A channel that carries the calls of a routed one."""


def open_channel(
    address: str,
    service: str,
    identity: "Identity | None",
    max_message_bytes: int,
    outgoing: Outgoing | None = None,
) -> RemoteChannel:
    """A channel to the process at `address`, which proves that it runs `service` where there are certificates."""
    return RemoteChannel(
        address,
        outgoing=outgoing,
        credentials=None if identity is None else identity.channel_credentials(),
        authority=None if identity is None else host_of(service),
        max_message_bytes=max_message_bytes,
    )


class Router:
    """Chooses the channel of each call; channels are made once per address and kept while it is listed."""

    def __init__(
        self,
        local: Mapping[str, LocalChannel],
        directory: Directory,
        outgoing: Outgoing,
        max_message_bytes: int,
        identity: "Identity | None" = None,
    ) -> None:
        self._local = local
        self._directory = directory
        self._outgoing = outgoing
        self._max_message_bytes = max_message_bytes
        self._identity = identity
        self._version: tuple[int, ...] = ()
        self._remote: dict[str, RemoteChannel] = {}
        self._absent: dict[str, LocalChannel] = {}
        self._closing: set[asyncio.Task[None]] = set()
        directory.watch(self._forget)

    def route(self, service: str) -> Carrying:
        """The channel for the next call to a service."""
        local = self._local.get(service)
        if local is not None:
            return local
        address = self._directory.pick(service)
        if address is None:
            return self._nowhere(service)
        if self._identity is not None:
            self._follow(self._identity)
        channel = self._remote.get(address)
        if channel is None:
            channel = self._remote[address] = open_channel(
                address, service, self._identity, self._max_message_bytes, self._outgoing
            )
        return channel

    def _follow(self, identity: "Identity") -> None:
        """After a rotation the next calls take new channels; those on the old ones end there."""
        version = identity.material.version
        if version != self._version:
            self._version = version
            for address in list(self._remote):
                self._let_go(address)

    async def close(self) -> None:
        """Close every remote channel; nothing waits any longer for calls on those that were let go."""
        tasks = list(self._closing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for channel in self._remote.values():
            await channel.close()
        self._remote.clear()

    def _forget(self) -> None:
        listed = {e.address for name in self._directory.services for e in self._directory.all(name)}
        for address in [a for a in self._remote if a not in listed]:
            self._let_go(address)

    def _let_go(self, address: str) -> None:
        task = asyncio.get_running_loop().create_task(self._remote.pop(address).close(_CALLS_LAST_SECONDS))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _nowhere(self, service: str) -> LocalChannel:
        channel = self._absent.get(service)
        if channel is None:
            channel = self._absent[service] = LocalChannel(_Absent(service))
        return channel


class _Absent(Mapping[str, Handler]):
    """Handlers of a service nobody serves now: each answers UNAVAILABLE and says so."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._pipeline = Pipeline(())

    def __getitem__(self, path: str) -> Handler:
        rpc = method(path)

        def refuse() -> NoReturn:
            raise errors.Unavailable(
                f"{self._service} has no live instance",
                reason=reasons.SERVICE_UNAVAILABLE,
                metadata={"service": self._service},
                retry_after=1.0,
            )

        async def unary(_: Any, __: Context) -> Any:
            refuse()

        async def stream(_: Any, __: Context) -> AsyncIterator[Any]:
            refuse()
            yield

        return self._pipeline.wrap(rpc, grpc.unary_unary_rpc_method_handler(stream if rpc.server_streaming else unary))

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class RoutedChannel(grpc.aio.Channel):
    """A channel whose every call asks where to go, so that a stub outlives its service's moves.

    Its calls raise MeshError: of the status, with reason, message and facts of what the service answered, or
    INSTANCE_LOST when nothing did. A call that its own caller cancelled raises asyncio.CancelledError.
    """

    def __init__(self, route: Callable[[], Carrying]) -> None:
        self._route = route

    def unary_unary(self, method: str, *codecs: Any, **named: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _RoutedMethod(self._route, "unary_unary", (method, *codecs), named)

    def unary_stream(self, method: str, *codecs: Any, **named: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _RoutedMethod(self._route, "unary_stream", (method, *codecs), named)

    def stream_unary(self, method: str, *codecs: Any, **named: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _RoutedMethod(self._route, "stream_unary", (method, *codecs), named)

    def stream_stream(self, method: str, *codecs: Any, **named: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _RoutedMethod(self._route, "stream_stream", (method, *codecs), named)

    async def __aenter__(self) -> "RoutedChannel":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def close(self, grace: float | None = None) -> None:
        """Nothing to close: the router owns the channels behind this one."""

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """State of the channel the next call would take."""
        return self._route().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait on the channel the next call would take."""
        await self._route().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the channel the next call would take is connected."""
        await self._route().channel_ready()


class _RoutedMethod:
    """One RPC of a routed channel; remembers its multi-callable on each channel it was sent to."""

    __slots__ = ("_arguments", "_kind", "_known", "_named", "_route")

    def __init__(
        self, route: Callable[[], Carrying], kind: str, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        self._route = route
        self._kind = kind
        self._arguments = arguments
        self._named = named
        self._known: dict[Carrying, Any] = {}

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        channel = self._route()
        callable_ = self._known.get(channel)
        if callable_ is None:
            if len(self._known) > 8:
                self._known.clear()
            callable_ = self._known[channel] = getattr(channel, self._kind)(*self._arguments, **self._named)
            callable_.boundary = AS_MESH_ERRORS
        return callable_(*arguments, **named)
