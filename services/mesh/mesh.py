"""What a process offers to the services it hosts: settings, parts, and a way to their neighbours."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import grpc
import redis.asyncio

from services.mesh.call.authenticator import Authenticator
from services.mesh.call.call import current_call
from services.mesh.call.carrier import LocalCarrier, RemoteCarrier
from services.mesh.call.pipeline import Handler
from services.mesh.call.spans import Spans
from services.mesh.call.token import Signer
from services.mesh.events.outbox import Outbox
from services.mesh.parts import POSTGRES, REDIS, C, Opened, Part
from services.mesh.process.registry.directory import Directory
from services.mesh.settings import Settings
from services.mesh.transport.local.channel import LocalChannel
from services.mesh.transport.routing import RoutedChannel, Router

if TYPE_CHECKING:
    from services.mesh.transport.tls.identity import Identity


@dataclass(frozen=True)
class Mesh:
    """Handed to every service's `build()`.

    `parts` are those that the declaration of `service` names, by name. `connect` gives the channel to a service by its
    short name; it may be made before that service is built, is made once, and follows the service when it moves. Its
    calls raise MeshError; see `RoutedChannel`. `outbox` takes the events that the service declares, and no others.
    """

    settings: Settings
    data_dir: Path
    parts: Mapping[str, Opened[Any]]
    authenticator: Authenticator
    spans: Spans
    connect: Callable[[str], grpc.aio.Channel]
    outbox: Outbox = field(default_factory=lambda: Outbox("mesh", ()))
    service: str = "mesh"

    def opened(self, part: Part[C]) -> Opened[C]:
        """A part that the service needs: its client, and a check that it works.

        Raises:
            ValueError: the declaration does not name it.
        """
        found = self.parts.get(part.name)
        if found is None:
            raise ValueError(f"{self.service} uses {part.name}, and its declaration does not name it in `needs`")
        return found

    @property
    def postgres(self) -> asyncpg.Pool:
        """The pool of the process; ValueError when the declaration does not name postgres."""
        return self.opened(POSTGRES).client

    @property
    def redis(self) -> redis.asyncio.Redis:
        """The client of the process; ValueError when the declaration does not name redis."""
        return self.opened(REDIS).client

    @property
    def check_postgres(self) -> Callable[[], Awaitable[None]]:
        """Postgres answers and takes writes; a check, made once for all services of a process that name it."""
        return self.opened(POSTGRES).check

    @property
    def check_redis(self) -> Callable[[], Awaitable[None]]:
        """Redis answers and takes writes; a check like the one of Postgres."""
        return self.opened(REDIS).check


class Connections:
    """The channels of one process; its own services are found elsewhere, or nowhere, until it serves them."""

    def __init__(
        self,
        hosted: Collection[str],
        directory: Directory,
        signer: Signer,
        settings: Settings,
        identity: "Identity | None" = None,
    ) -> None:
        self.handlers: dict[str, Handler] = {}
        self._hosted = hosted
        self._local: dict[str, LocalChannel] = {}
        self._router = Router(self._local, directory, RemoteCarrier(signer), settings.max_message_bytes, identity)
        self._channels: dict[str, RoutedChannel] = {}

    def connect(self, service: str) -> grpc.aio.Channel:
        """The channel to a service by its short name."""
        channel = self._channels.get(service)
        if channel is None:
            router = self._router
            channel = self._channels[service] = RoutedChannel(lambda: router.route(service))
        return channel

    def serve(self, handlers: Mapping[str, Handler]) -> None:
        """From now on calls to the services of this process go to these handlers, by full method name.

        Not before: a service that is called while it is built, by another of this process, is away; a channel that knew
        no method then would never know it.
        """
        self.handlers.update(handlers)
        local = LocalChannel(self.handlers, capture=current_call, outgoing=LocalCarrier())
        self._local.update(dict.fromkeys(self._hosted, local))

    async def close(self) -> None:
        """Close what was opened."""
        await self._router.close()
