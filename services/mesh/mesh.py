"""The mesh as a service sees it: settings, parts, and channels to its neighbours."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import redis.asyncio

from services.mesh.blobs.blobs import Blobs
from services.mesh.call.authenticator import Authenticator, Limiter
from services.mesh.call.delegation import Delegations
from services.mesh.call.seal import Seal
from services.mesh.call.spans import Spans
from services.mesh.events.outbox import Outbox
from services.mesh.parts import POSTGRES, REDIS, C, Opened, Part
from services.mesh.settings import Settings
from services.mesh.stores.postgres import Database


@dataclass(frozen=True)
class Mesh:
    """Handed to every service's `build()`.

    `parts` are the parts that the declaration of `service` names, by name. `connect` gives the channel to a service by
    its short name. The channel is made once, possibly before that service is built, and follows it when it moves; its
    calls raise MeshError, as those of `RoutedChannel` do. `blobs` are the bytes of pictures, sounds and documents, by
    their hash. `seal` makes the seal of a purpose. `delegations` has work go on for a
    caller after its call. `outbox` takes only the events that the service declares.
    """

    settings: Settings
    data_dir: Path
    parts: Mapping[str, Opened[Any]]
    authenticator: Authenticator
    limiter: Limiter
    spans: Spans
    connect: Callable[[str], grpc.aio.Channel]
    blobs: Blobs
    seal: Callable[[str], Seal]
    delegations: Delegations
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

    def optional(self, part: Part[C]) -> C | None:
        """The client of a part that the service uses where there is one; None where there is none."""
        found = self.parts.get(part.name)
        return found.client if found is not None else None

    @property
    def postgres(self) -> Database:
        """The pools of the process; ValueError when the declaration does not name postgres."""
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
