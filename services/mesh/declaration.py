"""What a service declares of itself, so that the host can run it: settings, schema, neighbours, and how it is built."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import grpc

from services.mesh.mesh import Mesh
from services.mesh.service import Service

S = TypeVar("S")
Build: TypeAlias = Callable[[Mesh, S, AsyncExitStack], Awaitable[Service]]


@dataclass(frozen=True)
class NoSettings:
    """The settings of a service that has none."""


@dataclass(frozen=True)
class Declaration(Generic[S]):
    """A service as the host knows it; a service's `main.py` has one, named `SERVICE`.

    Attributes:
        name: what `soma serve` and `mesh.connect` call it; also the name of its schema and of its table in `soma.toml`.
        build: makes it from the mesh, its settings and a stack that closes what it opens; it reads no environment.
        settings: their class, which reads them when it is called without arguments; once in a process, by the host.
        migrations: the folder of the schema's SQL files; None for a service that keeps nothing in Postgres.
        neighbours: the services it calls; `mesh.connect` refuses all others.
    """

    name: str
    build: Build[S]
    settings: type[S]
    migrations: Path | None = None
    neighbours: tuple[str, ...] = ()

    async def built(self, mesh: Mesh, settings: S, stack: AsyncExitStack) -> Service:
        """The service, on a mesh that leads to its neighbours.

        Raises:
            MeshError: what `build` raises.
        """

        def connect(service: str) -> grpc.aio.Channel:
            if service not in self.neighbours:
                raise ValueError(f"{self.name} calls {service!r}, and its declaration names no such neighbour")
            return mesh.connect(service)

        return await self.build(replace(mesh, connect=connect), settings, stack)
