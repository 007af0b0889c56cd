"""Connections through a real proxy, and to servers with certificates of a private certificate authority."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.mesh.call.errors import FailedPrecondition, InvalidArgument, MeshError
from services.mesh.transport.tls.authority import Authority
from services.mesh.transport.tls.identity import folder_of
from services.model.adapters.http1.network import DIRECT, Network, network, proxy_url
from services.model.adapters.upstream import Patience, Upstream
from services.model.settings import ModelSettings

SECONDS = 30.0
# A host name that only the proxy can resolve; it means this machine.
AWAY = "models.example"
LIST = b'{"data": [{"id": "m"}]}'


@dataclass
class Proxy:
    """An HTTP proxy that records the heads of requests, and resolves `AWAY` to this machine."""

    port: int = 0
    server: int = 0
    status: bytes = b"200 Connection established"
    heads: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            tunnel = head.startswith(b"CONNECT ")
            if tunnel:
                writer.write(b"HTTP/1.1 " + self.status + b"\r\nProxy-Agent: test\r\n\r\n")
            if not tunnel or self.status.startswith(b"200"):
                theirs, ours = await asyncio.open_connection("127.0.0.1", self.server)
                if not tunnel:
                    ours.write(head)
                await asyncio.gather(_pass(reader, ours), _pass(theirs, writer))
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while read := await reader.read(65536):
            writer.write(read)
    writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with a list of one model."""
    with suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LIST) + LIST)
    writer.close()


@asynccontextmanager
async def proxied(context: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """Run a server, and a proxy in front of it."""
    proxy = Proxy()
    serving = await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context)
    proxy.server = serving.sockets[0].getsockname()[1]
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    async with serving, listening:
        yield proxy


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.at(tmp_path)


@pytest.fixture
def secure(authority: Authority, tmp_path: Path) -> ssl.SSLContext:
    """The certificate of the server; no system trusts its authority."""
    authority.issue("server", [AWAY, "127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder_of(tmp_path) / "server.pem")
    return context


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> Path:
    return folder_of(tmp_path) / "ca.pem"


async def listed(url: str, way: Network) -> object:
    async with Upstream("lab", url, {"X-Key": "k"}, Patience(SECONDS, SECONDS, SECONDS), network=way) as upstream:
        found = await upstream.get("/models")
        assert found == await upstream.get("/models")
        return found["data"][0]["id"]


async def test_the_proxy_gets_the_whole_url_of_a_server_at_http() -> None:
    async with proxied() as proxy:
        way = network(f"http://ada:s%20cret@127.0.0.1:{proxy.port}", "", "", None)
        assert await listed(f"http://{AWAY}/v1?api=2", way) == "m"
    (head,) = proxy.heads
    assert head.startswith(b"GET http://models.example/v1/models?api=2 HTTP/1.1\r\nHost: models.example\r\n")
    assert b"Proxy-Authorization: Basic YWRhOnMgY3JldA==\r\n" in head


async def test_the_proxy_of_a_server_at_https_opens_a_tunnel_and_never_sees_the_key(
    secure: ssl.SSLContext, ca_file: Path
) -> None:
    async with proxied(secure) as proxy:
        way = network("", f"http://ada:secret@127.0.0.1:{proxy.port}", "", ca_file)
        assert await listed(f"https://{AWAY}/v1", way) == "m"
    (head,) = proxy.heads
    assert head.startswith(b"CONNECT models.example:443 HTTP/1.1\r\nHost: models.example:443\r\n")
    assert b"Proxy-Authorization: Basic " in head
    assert b"X-Key" not in head


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (b"407 Proxy Authentication Required", "the proxy answered 407: it wants another user or password"),
        (b"502 Bad Gateway", "the proxy answered 502"),
    ],
)
async def test_a_proxy_that_refuses_the_tunnel_is_reported(status: bytes, said: str) -> None:
    async with proxied() as proxy:
        proxy.status = status
        with pytest.raises(MeshError, match=said) as raised:
            await listed(f"https://{AWAY}", network("", f"http://127.0.0.1:{proxy.port}", "", None))
    assert raised.value.reason == "PROVIDER_UNAVAILABLE"
    assert "check HTTPS_PROXY" in raised.value.message


async def test_a_server_that_is_not_a_proxy_is_reported() -> None:
    async def mumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(mumble, "127.0.0.1", 0)
    async with server:
        way = network("", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "", None)
        with pytest.raises(MeshError, match="the proxy does not speak HTTP"):
            await listed(f"https://{AWAY}", way)


async def test_a_certificate_of_a_private_authority_is_trusted_if_ca_file_names_the_authority(
    secure: ssl.SSLContext, ca_file: Path
) -> None:
    async with proxied(secure) as proxy:
        url = f"https://127.0.0.1:{proxy.server}/v1"
        with pytest.raises(MeshError, match=r"its certificate is not trusted .* name its CA in ca_file") as raised:
            await listed(url, DIRECT)
        assert raised.value.reason == "PROVIDER_UNAVAILABLE"
        assert await listed(url, network("", "", "", ca_file)) == "m"


async def test_authorities_in_ssl_cert_file_are_trusted(
    secure: ssl.SSLContext, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    async with proxied(secure) as proxy:
        assert await listed(f"https://127.0.0.1:{proxy.server}/v1", DIRECT) == "m"


@pytest.mark.parametrize(
    ("url", "without", "by_proxy"),
    [
        ("https://api.example.com/v1", "", True),
        ("https://api.example.com/v1", "*", False),
        ("https://api.example.com/v1", "other.com, example.com", False),
        ("https://api.example.com/v1", ".example.com", False),
        ("https://api.example.com/v1", "*.example.com", False),
        ("https://example.com/v1", ".example.com", False),
        ("https://badexample.com/v1", "example.com", True),
        ("https://api.example.com/v1", "EXAMPLE.com", False),
        ("https://api.example.com/v1", "api.example.com:443", False),
        ("https://api.example.com/v1", "api.example.com:8443", True),
        ("http://10.1.2.3:8000/v1", "10.0.0.0/8", False),
        ("http://10.1.2.3:8000/v1", "10.1.2.3", False),
        ("http://10.1.2.3:8000/v1", "10.1.2.4 ,,", True),
        ("http://10.1.2.3:8000/v1", "10.1.2.3:8000", False),
        ("http://[fd00::1]:8000/v1", "fd00::/8", False),
        ("http://[fd00::1]:8000/v1", "[fd00::1]:8000", False),
        ("http://[fd00::1]:8000/v1", "fe80::/10", True),
        ("http://localhost:11434/v1", "", False),
        ("http://127.0.0.1:11434/v1", "", False),
        ("http://[::1]:11434/v1", "", False),
        ("http://my.localhost/v1", "", False),
    ],
)
def test_local_servers_and_those_in_no_proxy_are_reached_without_a_proxy(
    url: str, without: str, by_proxy: bool
) -> None:
    way = network("http://p:1", "http://p:2", without, None)
    proxy = way.proxy_for(url)
    assert (proxy is not None) is by_proxy
    assert proxy is None or proxy.port == (2 if url.startswith("https") else 1)


def test_a_proxy_for_http_is_not_used_for_https() -> None:
    assert network("http://p:1", "", "", None).proxy_for("https://api.example.com") is None


@pytest.mark.parametrize(("given", "found"), [("", ""), ("p:3128", "http://p:3128"), ("http://a:b@p", "http://a:b@p")])
def test_a_proxy_url_without_a_scheme_gets_http(given: str, found: str) -> None:
    assert proxy_url(given) == found


@pytest.mark.parametrize("given", ["socks5://p:1", "https://u:hunter2@p", "http://", "http://p:0", "http://p:x", "a b"])
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(given: str) -> None:
    with pytest.raises(ValueError, match="proxy's URL") as refused:
        proxy_url(given)
    assert "hunter2" not in str(refused.value)


def test_the_usual_variables_set_the_proxies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("https_proxy", "http://user:hunter2@p:3128")
    monkeypatch.setenv("NO_PROXY", "example.com,.internal")
    settings = ModelSettings()
    way = settings.network()
    proxy = way.proxy_for("https://api.openai.com/v1")
    assert proxy is not None
    assert (proxy.host, proxy.port, proxy.user) == ("p", 3128, "user")
    assert way.proxy_for("https://api.example.com") is None
    assert "hunter2" not in f"{settings!r} {way!r}"
    monkeypatch.setenv("https_proxy", "socks5://p")
    with pytest.raises(InvalidArgument, match="HTTPS_PROXY in the environment: the proxy's URL begins with socks5"):
        ModelSettings()


def test_a_file_without_certificates_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(FailedPrecondition, match=r"ca_file ca\.pem of \[model\] cannot be used"):
        ModelSettings(ca_file="ca.pem").network()
