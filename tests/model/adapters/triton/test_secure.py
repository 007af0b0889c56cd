"""A Triton of another machine is reached by TLS: with a private CA, and with a certificate where it asks for one."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
from soma.errors.v1 import reasons

from cli.parts.triton import ExternalTriton
from services.mesh.call.errors import FailedPrecondition, Unavailable
from services.mesh.transport.tls.authority import Authority
from services.mesh.transport.tls.identity import CA
from services.model.adapters.triton.server import Server
from services.model.adapters.triton.settings import TritonSettings
from services.model.adapters.triton.stream import Stream
from services.model.adapters.triton.vectors import vectors
from services.model.adapters.upstream import Patience
from tests.model.adapters.triton.server import PublicTriton, triton
from tests.ports import free_port

Connected: TypeAlias = Callable[[TritonSettings], Server]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A CA, a certificate of the server and one of a client, and another CA."""
    here, elsewhere = tmp_path_factory.mktemp("ca"), tmp_path_factory.mktemp("other")
    authority, other = Authority.at(here), Authority.at(elsewhere)
    server, client = authority.issue("triton", ["127.0.0.1", "localhost"]), authority.issue("client")
    return {
        "ca": server.with_name(CA),
        "server": server,
        "client": client,
        "other": other.issue("client").with_name(CA),
    }


@pytest.fixture(scope="module")
async def secure(directory: Path, certificates: dict[str, Path]) -> AsyncIterator[TritonSettings]:
    """The settings of a client of a server that asks for a certificate."""
    settings = TritonSettings(
        url=f"grpcs://127.0.0.1:{free_port()}",
        ca_file=certificates["ca"],
        cert_file=certificates["client"],
        key_file=certificates["client"],
    )
    flags = {
        "grpc-use-ssl-mutual": "true",
        "grpc-server-cert": certificates["server"],
        "grpc-server-key": certificates["server"],
        "grpc-root-cert": certificates["ca"],
    }
    make = partial(PublicTriton, secure=settings, flags=[f"--{name}={value}" for name, value in flags.items()])
    async with triton(directory, "odd", "ticker", make=make) as server:
        connection = Server(settings)
        await server.loaded(connection, "odd", "ticker")
        await connection.close()
        yield settings


@pytest.fixture
async def connected() -> AsyncIterator[Connected]:
    """Connects to a server until the end of the test."""
    async with AsyncExitStack() as stack:

        def connect(settings: TritonSettings) -> Server:
            server = Server(settings)
            stack.push_async_callback(server.close)
            return server

        yield connect


async def test_vectors_and_streams_come_over_tls(secure: TritonSettings, connected: Connected) -> None:
    server = connected(secure)
    assert (await vectors(server, "odd", ["4"], 8, 10.0)).vectors.shape == (1, 4)
    stream = Stream(server, Patience()).stream("ticker", {"stream": True, "words": 3}, {})
    assert len([chunk async for chunk in stream]) == 4


async def test_the_stack_sees_that_it_serves_and_its_version(secure: TritonSettings) -> None:
    part = ExternalTriton(secure)
    try:
        await part.probe(None)
    finally:
        await part.close()
    assert part.version is not None and part.version.count(".") == 2
    assert part.where == secure.url


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ca_file": "other"}, "a CA that did not sign its certificate"),
        ({"cert_file": None, "key_file": None}, "no certificate of the client"),
    ],
)
async def test_it_is_away_for_a_client_that_does_not_trust_it_or_that_it_does_not_trust(
    secure: TritonSettings,
    connected: Connected,
    certificates: dict[str, Path],
    change: dict[str, str | None],
    why: str,
) -> None:
    update = {name: certificates[value] if value else None for name, value in change.items()}
    server = connected(secure.model_copy(update=update))
    with pytest.raises(Unavailable) as refused:
        await vectors(server, "odd", ["4"], 8, 5.0)
    assert refused.value.reason in (reasons.PROVIDER_UNAVAILABLE, reasons.PROVIDER_TIMEOUT), why
    assert "127.0.0.1" not in refused.value.message


async def test_a_client_without_tls_gets_nothing(secure: TritonSettings, connected: Connected) -> None:
    server = connected(TritonSettings(url=secure.url.replace("grpcs", "grpc")))
    with pytest.raises(Unavailable) as refused:
        await vectors(server, "odd", ["4"], 8, 5.0)
    assert refused.value.reason == reasons.PROVIDER_UNAVAILABLE


async def test_a_certificate_without_its_key_is_refused_before_the_first_call(
    secure: TritonSettings, connected: Connected
) -> None:
    server = connected(secure.model_copy(update={"key_file": None}))
    with pytest.raises(FailedPrecondition) as refused:
        await server.models()
    assert refused.value.reason == reasons.TRITON_SETTINGS_INVALID
