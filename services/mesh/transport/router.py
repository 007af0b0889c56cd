"""Chooses where a call to a service goes: into this process, or to an endpoint of the directory."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import grpc
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.carrier import Carrier
from services.mesh.call.method import method
from services.mesh.call.pipeline import Context, Handler, Pipeline
from services.mesh.call.process_name import host_of
from services.mesh.transport.directory import Directory
from services.mesh.transport.local.channel import LocalChannel
from services.mesh.transport.remote.channel import RemoteChannel

if TYPE_CHECKING:
    from services.mesh.transport.tls.identity import Identity

# A channel that is no longer used stays open for its calls, which may be streams of hours. They end by their deadline,
# or when the other process stops and says why, or when it does not answer pings.
_CALLS_LAST_SECONDS = 7 * 86_400.0

Carrying: TypeAlias = LocalChannel | RemoteChannel
"""A channel that carries calls itself."""


def open_channel(
    address: str,
    service: str,
    identity: "Identity | None",
    max_message_bytes: int,
    outgoing: Carrier | None = None,
) -> RemoteChannel:
    """A channel to the process at `address`; where there are certificates, its certificate has to name `service`."""
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
        outgoing: Carrier,
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
        """After the certificate was rotated, have new calls take new channels; running calls stay on the old ones."""
        version = identity.material.version
        if version != self._version:
            self._version = version
            for address in list(self._remote):
                self._let_go(address)

    async def close(self) -> None:
        """Close every remote channel, also those that are only open for running calls."""
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
    """Handlers of a service that has no live instance: each answers UNAVAILABLE."""

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
