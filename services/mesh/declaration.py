"""The declaration of a service, from which the host runs it: settings, parts, neighbours, events, its build."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import grpc

from services.mesh.events.consumer import consuming
from services.mesh.events.event import area_of
from services.mesh.events.outbox import Outbox
from services.mesh.events.relay import Relay
from services.mesh.mesh import Mesh
from services.mesh.parts import POSTGRES, REDIS, require_known
from services.mesh.service import Service
from services.mesh.stores import migrations
from services.mesh.stores.row_security import Access, Roles

S = TypeVar("S")
Build: TypeAlias = Callable[[Mesh, S, AsyncExitStack], Awaitable[Service]]


@dataclass(frozen=True)
class NoSettings:
    """The settings of a service that has none."""


@dataclass(frozen=True)
class Declaration(Generic[S]):
    """A service as the host knows it; a service's `main.py` has one, named `SERVICE`.

    Attributes:
        name: of the service in `soma serve` and `mesh.connect`, of its schema, and of its table in `soma.toml`.
        build: makes the service from the mesh, its settings and a stack that closes what the service opens. It does not
            read the environment.
        settings: the class of its settings, which reads them when it is called without arguments; the host does that.
        needs: the parts it uses, by name, such as `postgres`. A stack starts only parts that one of its services needs,
            and `mesh` refuses all others. A schema and jobs that are `alone` need postgres, events need redis as well.
        uses: the parts that it uses where a stack has them, by name; it works without them. `mesh.optional` has them.
        migrations: the folder of the schema's SQL files; None for a service that keeps nothing in Postgres.
        neighbours: the services it calls; `mesh.connect` refuses all others.
        sends: the types of the events it sends, `<its name>.<noun>.<past-tense verb>`; `mesh.outbox` refuses all
            others. Its schema then has an outbox, which the host makes.
        access: what its statements do to its tables beside those of tenants to their own rows.

    Raises:
        ValueError: the service sends an event of another area, or sends events without a schema; or `needs` has a name
            that is no part, or lacks a part that the schema or the events need.
    """

    name: str
    build: Build[S]
    settings: type[S]
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    migrations: Path | None = None
    neighbours: tuple[str, ...] = ()
    sends: tuple[str, ...] = ()
    access: Access = field(default_factory=Access)

    def __post_init__(self) -> None:
        for type in self.sends:
            if area_of(type) != self.name:
                raise ValueError(f"{self.name} sends {type!r}, which is an event of {area_of(type)}")
        if self.sends and self.migrations is None:
            raise ValueError(f"{self.name} sends events, and has no schema for its outbox: it needs `migrations`")
        require_known((*self.needs, *self.uses))
        if self.migrations is not None:
            self._require("keeps a schema", POSTGRES.name)
        if self.sends:
            self._require("sends events", POSTGRES.name, REDIS.name)

    async def migrate(self, url: str, roles: Roles | None) -> None:
        """Bring its schema up to date, if it has one; `url` is of the role that owns the tables.

        Raises:
            FailedPrecondition: the database is newer than this code.
            Unavailable: the database cannot be reached.
        """
        if self.migrations is not None:
            await migrations.migrate(
                url, self.name, self.migrations, roles, outbox=bool(self.sends), access=self.access
            )

    async def built(self, mesh: Mesh, settings: S, stack: AsyncExitStack) -> Service:
        """Build the service, on a mesh that knows its neighbours, and add the jobs that relay and handle its events.

        Raises:
            MeshError: what `build` raises.
            ValueError: the service consumes a type that is none, or one type twice; or it calls a neighbour or uses a
                part that is not declared.
        """

        def connect(service: str) -> grpc.aio.Channel:
            if service not in self.neighbours:
                raise ValueError(f"{self.name} calls {service!r}, and its declaration names no such neighbour")
            return mesh.connect(service)

        outbox = Outbox(self.name, self.sends)
        parts = {name: mesh.parts[name] for name in self.needs}
        parts |= {name: mesh.parts[name] for name in self.uses if name in mesh.parts}
        own = replace(mesh, service=self.name, parts=parts, connect=connect, outbox=outbox)
        service = await self.build(own, settings, stack)
        jobs = [*service.jobs]
        if self.sends:
            jobs += Relay(own.postgres.system, own.redis, outbox).jobs
        if service.events:
            self._require("handles events", POSTGRES.name, REDIS.name)
            jobs += consuming(self.name, service.events, own.postgres, own.redis)
        for job in jobs:
            if job.alone:
                self._require(f"has the job {job.name!r}, which is to be alone", POSTGRES.name)
        return replace(service, jobs=tuple(jobs))

    def _require(self, why: str, *parts: str) -> None:
        if missing := [part for part in parts if part not in self.needs]:
            raise ValueError(f"{self.name} {why}: its declaration has to name {' and '.join(missing)} in `needs`")
