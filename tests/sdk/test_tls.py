"""An https URL uses TLS, and only a server with a trusted certificate is used."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import somamesh

from tests.sdk.conftest import KEY, Server, serving
from tests.sdk.drivers import driving
from tests.slow_link import slow_link

OPENSSL = shutil.which("openssl")
pytestmark = [
    pytest.mark.skipif(OPENSSL is None, reason="openssl is missing: install it to make certificates"),
    pytest.mark.parametrize("kind", ["sync", "async"]),
]


@pytest.fixture
async def chain(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1; its key is in the same folder."""
    made = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", "/CN=mesh", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", tmp_path / "key.pem", "-out", tmp_path / "chain.pem"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await made.wait() == 0
    return tmp_path / "chain.pem"


@pytest.fixture
async def secure(chain: Path) -> AsyncIterator[Server]:
    """A server that speaks TLS with that certificate."""
    pair = (chain.with_name("key.pem").read_bytes(), chain.read_bytes())
    async with serving(grpc.ssl_server_credentials([pair])) as server:
        yield server


async def test_calls_reach_a_mesh_with_a_trusted_certificate(secure: Server, chain: Path, kind: str) -> None:
    async with driving(kind, secure.url, KEY, ca_file=chain) as client:
        assert (await client.call("chat", "Hi")).text == "Hello, world"


async def test_a_mesh_with_an_untrusted_certificate_gets_neither_key_nor_request(secure: Server, kind: str) -> None:
    async with driving(kind, secure.url, KEY, max_retries=0) as client:
        with pytest.raises(somamesh.UnavailableError):
            await client.call("chat", "Hi")
    assert secure.chat.requests == []


async def test_a_handshake_may_take_as_long_as_on_a_slow_link(secure: Server, chain: Path, kind: str) -> None:
    async with (
        slow_link(int(secure.url.rpartition(":")[2]), 1.5) as port,
        driving(kind, f"https://127.0.0.1:{port}", KEY, ca_file=chain, max_retries=0) as client,
    ):
        assert (await client.call("chat", "Hi", timeout=20)).text == "Hello, world"
