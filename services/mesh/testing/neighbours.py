"""Neighbours of what is under test: servicers in its own process, or behind a socket in what stands for another."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from services.mesh.call.authenticator import Authenticator
from services.mesh.call.handlers import Registration
from services.mesh.call.spans import Spans
from services.mesh.testing.local import LocalMesh
from services.mesh.transport.limits import MESSAGE_BYTES
from services.mesh.transport.server import Server


def registrations(servicers: Sequence[object]) -> list[Registration]:
    """Each servicer with the generated function that adds it to a server, once for every contract it serves.

    Raises:
        TypeError: one derives from no generated servicer.
    """
    found: list[Registration] = []
    for servicer in servicers:
        contracts = [each for each in type(servicer).__mro__ if each.__module__.endswith("_pb2_grpc")]
        if not contracts:
            raise TypeError(f"{type(servicer).__name__} derives from no generated servicer")
        for contract in contracts:
            add = getattr(sys.modules[contract.__module__], f"add_{contract.__name__}_to_server")
            found.append((add, servicer))
    return found


@dataclass(frozen=True)
class Served:
    """Servicers on a port of 127.0.0.1, behind the whole pipeline."""

    address: str
    server: Server


@asynccontextmanager
async def served(
    *servicers: object,
    authenticator: Authenticator | None = None,
    spans: Spans | None = None,
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[Served]:
    """Servicers on a free port, with TLS when there are credentials.

    Args:
        authenticator: who knows callers from outside; by default the holder of `KEY` of the local mesh.
        spans: where the traces of calls go.
        credentials: of the server.
    """
    mesh = LocalMesh(registrations(servicers), authenticator=authenticator, spans=spans)
    server = Server(mesh.handlers, mesh.drain, max_message_bytes=MESSAGE_BYTES)
    port = await server.start("127.0.0.1:0", credentials)
    try:
        yield Served(f"127.0.0.1:{port}", server)
    finally:
        await server.stop(0.0)
