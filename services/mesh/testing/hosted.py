"""A service under test: built and run as the host does it, among neighbours that a test chooses."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import redis.asyncio as aioredis

from services.mesh.blobs.blobs import Blobs
from services.mesh.blobs.directory import Directory as BlobDirectory
from services.mesh.call.authenticator import Authenticator, DevAuthenticator, Unlimited
from services.mesh.call.call import Call, current_call
from services.mesh.call.delegation import Delegations
from services.mesh.call.interceptors.drain import Drain
from services.mesh.call.principal import Principal
from services.mesh.call.seal import Seal
from services.mesh.call.spans import Spans
from services.mesh.declaration import Declaration
from services.mesh.hosting import host
from services.mesh.mesh import Mesh
from services.mesh.parts import POSTGRES, REDIS, Opened
from services.mesh.service import Service
from services.mesh.settings import Settings
from services.mesh.testing.delegations import UnendingDelegations
from services.mesh.testing.local import INTERNAL_KEY, KEY, SIGNER, LocalMesh
from services.mesh.testing.neighbours import registrations
from services.mesh.transport.channels import Channels
from services.mesh.transport.directory import Directory, Endpoint
from services.mesh.transport.local.channel import LocalChannel

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Database

S = TypeVar("S")
# Servicers in this process, or the address of another that serves them.
Neighbour: TypeAlias = Sequence[object] | str
_GRACE_SECONDS = 1.0


@dataclass(frozen=True)
class Hosted:
    """A running service.

    Attributes:
        service: what `build()` made.
        channel: reaches it and its neighbours as clients of the mesh do: what fails is an `AioRpcError`.
        drain: the calls in progress.
    """

    service: Service
    channel: LocalChannel
    drain: Drain

    @property
    def servicers(self) -> list[object]:
        """What it serves, to be the neighbour of another service under test."""
        return [servicer for _, servicer in self.service.servicers]


@asynccontextmanager
async def hosted(
    declaration: Declaration[S],
    *,
    neighbours: Mapping[str, Neighbour] | None = None,
    settings: S | None = None,
    database: "Database | None" = None,
    redis: aioredis.Redis | None = None,
    others: Mapping[str, Opened[Any]] | None = None,
    data_dir: Path = Path(".somamesh"),
    blobs: Blobs | None = None,
    authenticator: Authenticator | None = None,
    spans: Spans | None = None,
    delegations: Delegations | None = None,
    caller: Principal | None = None,
    strict: bool = False,
) -> AsyncIterator[Hosted]:
    """The real service for the block, with its jobs at work; afterwards it is closed as the host closes it.

    Args:
        neighbours: by name; those of the declaration that are left out are away.
        settings: the service's; read from the environment when left out.
        database: the pools of a database with the service's schema, for a service that needs postgres.
        redis: a client, for a service that needs redis.
        others: what else it needs, by the names of these parts.
        data_dir: where a stack keeps its files.
        blobs: bytes that its callers hold, or that it shares with others; below `data_dir` when left out.
        authenticator: who knows callers from outside; by default the holder of `KEY` of the local mesh.
        spans: where the traces of calls go.
        delegations: has work go on for callers; by default it goes on until it is done.
        caller: whose the calls are that a test makes outside of `run_as`.
        strict: `channel` serialises, as a socket does.

    Raises:
        MeshError: what the service raises when it is built.
        ValueError: a neighbour is given that the declaration does not name, or a part is not given that it names.
    """
    given = neighbours or {}
    if strangers := given.keys() - set(declaration.neighbours):
        raise ValueError(f"{declaration.name} declares no neighbour {', '.join(sorted(strangers))}")
    parts = dict(others or {})
    if database is not None:
        parts[POSTGRES.name] = Opened.of(POSTGRES, database)
    if redis is not None:
        parts[REDIS.name] = Opened.of(REDIS, redis)
    if missing := [part for part in declaration.needs if part not in parts]:
        raise ValueError(f"{declaration.name} needs {' and '.join(missing)}, which the test does not give")
    here = {name: servicers for name, servicers in given.items() if not isinstance(servicers, str)}
    authenticator = authenticator or DevAuthenticator(KEY)
    spans = spans or Spans("test", None)
    process, directory = Settings(trace_sample_ratio=0.0), Directory()
    directory.replace(Endpoint(name, at, name) for name, at in given.items() if isinstance(at, str))
    offered = [pair for servicers in here.values() for pair in registrations(servicers)]
    local = LocalMesh(offered, authenticator=authenticator, spans=spans, strict=strict, capture=_capturing(caller))
    async with AsyncExitStack() as stack:
        channels = Channels([declaration.name, *here], directory, SIGNER, process.max_message_bytes)
        stack.push_async_callback(channels.close)
        # The service and its neighbours call each other through the handlers that tests call.
        channels.handlers = local.handlers
        # The channel stays open until callers have the answers that the service gives when it is closed.
        stack.push_async_callback(local.channel.close, _GRACE_SECONDS)
        mesh = Mesh(
            settings=process,
            data_dir=data_dir,
            parts=parts,
            authenticator=authenticator,
            limiter=Unlimited(),
            spans=spans,
            connect=channels.connect,
            blobs=blobs or Blobs(BlobDirectory(data_dir / "blobs"), database.tenants if database is not None else None),
            seal=partial(Seal, INTERNAL_KEY),
            delegations=delegations or UnendingDelegations(),
        )
        own = declaration.settings() if settings is None else settings
        services = await host([(declaration, own)], mesh, channels, local.pipeline, stack)
        yield Hosted(services[declaration.name], local.channel, local.drain)


def _capturing(caller: Principal | None) -> Callable[[], Call | None]:
    """The call a test is in; outside of any, one of `caller`."""

    def captured() -> Call | None:
        call = current_call()
        if call is None and caller is not None:
            call = Call(started=asyncio.get_running_loop().time())
            call.principal = caller
        return call

    return captured
