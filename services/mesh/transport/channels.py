"""The channels of a process: each leads to a service by its name, wherever the service is."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import grpc

from services.mesh.call.call import current_call
from services.mesh.call.carrier import LocalCarrier, RemoteCarrier
from services.mesh.call.pipeline import Handler
from services.mesh.call.token import Signer
from services.mesh.transport.directory import Directory
from services.mesh.transport.local.channel import LocalChannel
from services.mesh.transport.routed import RoutedChannel
from services.mesh.transport.router import Router

if TYPE_CHECKING:
    from services.mesh.transport.tls.identity import Identity


class Channels:
    """The channels of one process to services by their names.

    Until the process serves its own services, calls to them go to other processes, or nowhere.

    Args:
        hosted: the services that the process itself serves.
        directory: where the services of other processes are.
        signer: signs the principal of calls that leave the process.
        max_message_bytes: the largest message received.
        identity: the certificate of the process, where processes have certificates.
    """

    def __init__(
        self,
        hosted: Collection[str],
        directory: Directory,
        signer: Signer,
        max_message_bytes: int,
        identity: "Identity | None" = None,
    ) -> None:
        self.handlers: dict[str, Handler] = {}
        self._hosted = hosted
        self._local: dict[str, LocalChannel] = {}
        self._router = Router(self._local, directory, RemoteCarrier(signer), max_message_bytes, identity)
        self._channels: dict[str, RoutedChannel] = {}

    def connect(self, service: str) -> grpc.aio.Channel:
        """The channel to a service by its short name."""
        channel = self._channels.get(service)
        if channel is None:
            router = self._router
            channel = self._channels[service] = RoutedChannel(lambda: router.route(service))
        return channel

    def serve(self, handlers: Mapping[str, Handler]) -> None:
        """From now on calls to the services of this process go to these handlers, which are given by full method name.

        Before that the local channel does not exist: a channel keeps for each method the handler that it found first,
        so a service that another one calls while it is built would be unknown for good. It is away instead.
        """
        self.handlers.update(handlers)
        local = LocalChannel(self.handlers, capture=current_call, outgoing=LocalCarrier())
        self._local.update(dict.fromkeys(self._hosted, local))

    async def close(self) -> None:
        """Close the channels to other processes."""
        await self._router.close()
