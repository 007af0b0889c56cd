"""Two authorities, the one of the stack and another, and processes with certificates."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from soma.testing.v1.echo_service_pb2_grpc import add_EchoServiceServicer_to_server
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from services.mesh.call.authenticator import DevAuthenticator, Unlimited
from services.mesh.call.handlers import collect
from services.mesh.call.interceptors.drain import Drain
from services.mesh.call.process_name import host_of, neighbours
from services.mesh.call.spans import Spans
from services.mesh.call.stack import pipeline
from services.mesh.call.token import Signer
from services.mesh.testing.echo import EchoServicer
from services.mesh.transport.http import HttpServer
from services.mesh.transport.server import Server
from services.mesh.transport.tls.authority import Authority
from services.mesh.transport.tls.identity import Identity, folder_of
from tests.mesh.transport.tls.neighbours import KEY, MESSAGE_BYTES


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority of the stack."""
    (tmp_path / "own").mkdir()
    return Authority.at(tmp_path / "own")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of its certificates."""
    return folder_of(tmp_path / "own")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Another authority."""
    (tmp_path / "strange").mkdir()
    return Authority.at(tmp_path / "strange")


@pytest.fixture
async def address(authority: Authority, folder: Path) -> AsyncIterator[str]:
    """A process that serves `echo` to its neighbours."""
    authority.issue("serve", [host_of("echo")])
    spans, drain = Spans("test", None), Drain()
    wrap = pipeline(
        authenticator=DevAuthenticator(KEY),
        limiter=Unlimited(),
        signer=Signer(b"k" * 32, "test"),
        spans=spans,
        drain=drain,
        sample_ratio=0.0,
        peers=neighbours,
    )
    handlers = wrap.wrap_all(collect([(add_EchoServiceServicer_to_server, EchoServicer())]))
    server = Server(handlers, drain, max_message_bytes=MESSAGE_BYTES)
    port = await server.start("127.0.0.1:0", Identity(folder, "serve").server_credentials())
    yield f"127.0.0.1:{port}"
    await server.stop(0.0)
    spans.close()


@pytest.fixture
async def port(authority: Authority, folder: Path) -> AsyncIterator[int]:
    """An HTTP application for the gateway only."""
    authority.issue("serve", [host_of("edge")])
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("hello"))])
    server = HttpServer(app, identity=Identity(folder, "serve"))
    yield await server.start("127.0.0.1")
    await server.stop()
