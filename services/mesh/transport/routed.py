"""A channel whose every call asks where to go, so that a stub stays in use when its service moves."""

from collections.abc import Callable
from typing import Any

import grpc

from services.mesh.call.status import AS_MESH_ERRORS
from services.mesh.transport.channel import Channel, Kind, Parse, Serialize
from services.mesh.transport.router import Carrying


class RoutedChannel(Channel):
    """A channel to a service, wherever it is.

    Its calls raise MeshError: of the status, with reason, message and facts of what the service answered, or
    INSTANCE_LOST when nothing did. A call that its own caller cancelled raises asyncio.CancelledError.

    Args:
        route: says which channel carries the next call.
    """

    def __init__(self, route: Callable[[], Carrying]) -> None:
        self._route = route

    def method(self, kind: Kind, path: str, serialize: Serialize, parse: Parse, registered: bool | None) -> Any:
        """The method on whatever channel carries the call."""
        return _RoutedMethod(self._route, (kind, path, serialize, parse, registered))

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
    """One RPC of a routed channel; keeps its method of each channel that has carried it."""

    __slots__ = ("_known", "_made_of", "_route")

    def __init__(self, route: Callable[[], Carrying], made_of: tuple[Kind, str, Serialize, Parse, bool | None]) -> None:
        self._route = route
        self._made_of = made_of
        self._known: dict[Carrying, Any] = {}

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        channel = self._route()
        method = self._known.get(channel)
        if method is None:
            if len(self._known) > 8:
                self._known.clear()
            method = self._known[channel] = channel.method(*self._made_of)
            method.boundary = AS_MESH_ERRORS
        return method(*arguments, **named)
