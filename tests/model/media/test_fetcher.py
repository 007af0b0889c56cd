"""Reading addresses on the web, from a real server, and refusing those in private networks."""

import asyncio
import gzip
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.mesh.testing.waiting import until
from services.mesh.transport.tls.authority import Authority
from services.mesh.transport.tls.identity import folder_of
from services.model.adapters.http1.network import DIRECT, Network, network
from services.model.media.address import Unreachable
from services.model.media.contents import Kind
from services.model.media.fetcher import Allowance, Fetched, Fetcher, Found, TooLarge
from services.model.media.media_type import Wrong
from services.model.media.settings import MediaSettings
from tests.model.media.samples import PNG
from tests.model.media.web import Answer, hang, ok, serving

HERE = ("127.0.0.1",)
LARGE = 1024 * 1024


async def fetch(
    url: str,
    kind: Kind = "image",
    *,
    limit: int = LARGE,
    uses: int = 1,
    network: Network = DIRECT,
    trusted: Sequence[str] = HERE,
    resolve: Any = None,
    **settings: Any,
) -> Fetched:
    """Read one address."""
    given = MediaSettings(trusted_hosts=tuple(trusted), **{"fetch_timeout": 5.0, **settings})
    return await Fetcher(given, network, resolve).fetch(url, kind, Allowance(limit), uses)


def found(*addresses: str) -> Any:
    """A resolver that knows one name; it counts how often it is asked."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[Found]:
        asked.append(host)
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in addresses
        ]

    resolve.asked = asked  # type: ignore[attr-defined]
    return resolve


async def test_a_picture_is_read_as_it_is() -> None:
    async with serving(a=ok(PNG, "image/png; charset=binary")) as web:
        assert await fetch(web.url("/a")) == Fetched(PNG, "image/png")
    (head,) = web.heads
    assert head.splitlines()[:2] == ["GET /a HTTP/1.1", f"Host: 127.0.0.1:{web.port}"]
    assert "Accept-Encoding: identity" in head


async def test_a_body_without_a_length_and_one_in_chunks_are_read() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with serving(open=b"HTTP/1.0 200 OK\r\n\r\nabc", chunked=chunked) as web:
        assert (await fetch(web.url("/open"), "file")).data == b"abc"
        assert (await fetch(web.url("/chunked"), "file")).data == b"abcde"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300])
async def test_a_redirect_is_refused_and_says_where_it_leads(status: int) -> None:
    async with serving(
        a=f"HTTP/1.1 {status} Moved\r\nLocation: http://169.254.169.254/x\u0080\r\nContent-Length: 0\r\n\r\n".encode(
            "latin-1"
        )
    ) as web:
        with pytest.raises(Unreachable) as error:
            await fetch(web.url("/a"))
    assert str(error.value) == "it leads to http://169.254.169.254/x; use that address"
    assert web.paths == ["/a"]


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer byte by byte, more often than any timeout for one byte."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not writer.transport.is_closing():
        writer.write(b"a")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("answer", [hang, _drip])
async def test_a_slow_server_is_left_when_the_time_for_all_is_over(answer: Answer) -> None:
    async with serving(a=answer) as web, asyncio.timeout(3):
        with pytest.raises(Unreachable, match=r"it was not read within 0\.3 s"):
            await fetch(web.url("/a"), fetch_timeout=0.3)


async def test_a_cancelled_read_closes_its_connection() -> None:
    async with serving(a=_drip) as web:
        reading = asyncio.create_task(fetch(web.url("/a")))
        await until(lambda: web.heads)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\n\r\na", "status 206"),
        (b"HTTP/1.1 204 Nothing\r\n\r\n", "status 204"),
        (ok(PNG, length=len(PNG) + 1), "closed the connection before the end"),
        (b"", "closed the connection before the end"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", "does not speak HTTP"),
    ],
)
async def test_an_answer_that_is_no_picture_is_refused(answer: bytes, said: str) -> None:
    async with serving(a=answer) as web:
        with pytest.raises(Unreachable, match=said):
            await fetch(web.url("/a"))


async def test_a_compressed_answer_is_refused_before_it_is_decompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    def decompressed(*_: object) -> None:
        raise AssertionError("the answer was decompressed")

    monkeypatch.setattr(zlib, "decompressobj", decompressed)
    bomb = gzip.compress(bytes(50 * LARGE))
    async with serving(a=ok(bomb, "image/png", "Content-Encoding: gzip")) as web:
        with pytest.raises(Unreachable, match="compresses it"):
            await fetch(web.url("/a"), limit=100 * LARGE)


@pytest.mark.parametrize(
    ("kind", "served"),
    [
        ("image", "text/html; charset=utf-8"),
        ("image", "video/mp4"),
        ("audio", "image/png"),
        ("image", "application/json"),
    ],
)
async def test_a_wrong_type_is_refused_by_the_head_of_the_answer(kind: Kind, served: str) -> None:
    async with serving(a=_typed(served)) as web:
        with pytest.raises(Wrong, match=f"is {served.split(';')[0]} according to its server"):
            await fetch(web.url("/a"), kind)


def _typed(served: str) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {served}\r\nContent-Length: 9\r\n\r\n".encode())
        await hang(reader, writer)

    return answer


async def test_what_is_too_large_is_refused_by_its_length_before_it_is_read() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")
        await hang(reader, writer)

    async with serving(a=answer) as web:
        with pytest.raises(TooLarge):
            await fetch(web.url("/a"), limit=1000)


async def test_what_says_no_length_is_cut_off_at_the_limit() -> None:
    sent = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.transport.is_closing():
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    async with serving(a=answer) as web:
        with pytest.raises(TooLarge):
            await fetch(web.url("/a"), limit=LARGE)
    # Sockets hold some megabytes that nobody read.
    assert sent < 32 * LARGE


async def test_exactly_the_limit_is_read_as_often_as_it_is_used() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" + bytes(100) + b"\r\n0\r\n\r\n"
    async with serving(length=ok(bytes(100)), chunked=chunked) as web:
        for path in ("/length", "/chunked"):
            assert len((await fetch(web.url(path), "file", limit=200, uses=2)).data) == 100
            with pytest.raises(TooLarge):
                await fetch(web.url(path), "file", limit=199, uses=2)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "a.localhost", "127.1", "2130706433", "0x7f.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0"],
)
async def test_this_machine_is_not_read(host: str) -> None:
    async with serving(a=ok(PNG)) as web:
        with pytest.raises(Unreachable, match="not in the public internet"):
            await fetch(web.url("/a", host), trusted=(), ports=(web.port,))
    assert web.heads == []


@pytest.mark.parametrize(
    "addresses",
    [("127.0.0.1",), ("93.184.215.14", "127.0.0.1"), ("fe80::1",), ("::ffff:127.0.0.1",), ("64:ff9b::7f00:1",)],
)
async def test_a_name_that_has_a_private_address_is_not_read(addresses: Sequence[str]) -> None:
    async with serving(a=ok(PNG)) as web:
        with pytest.raises(Unreachable, match="not in the public internet"):
            await fetch(web.url("/a", "pictures.example"), resolve=found(*addresses), ports=(web.port,))
    assert web.heads == []


async def test_a_name_is_resolved_once_and_the_connection_goes_to_that_address() -> None:
    """A name that leads to this machine the second time it is asked for (DNS rebinding) wins nothing."""
    resolve = found("127.0.0.1")
    async with serving(a=ok(PNG)) as web:
        # No resolver of the system knows this name.
        fetched = await fetch(web.url("/a", "pictures.invalid"), trusted=("pictures.invalid",), resolve=resolve)
    assert fetched.data == PNG
    assert resolve.asked == ["pictures.invalid"]
    assert f"Host: pictures.invalid:{web.port}" in web.heads[0]


async def test_a_name_that_does_not_exist_is_said_to_be_unknown() -> None:
    async def resolve(host: str, port: int) -> Sequence[Found]:
        raise socket.gaierror("no such name")

    with pytest.raises(Unreachable, match=r"the name pictures\.example cannot be resolved"):
        await fetch("http://pictures.example/a", resolve=resolve)
    with pytest.raises(Unreachable, match=r"the name pictures\.example cannot be resolved"):
        await fetch("http://pictures.example/a", resolve=found())


async def test_a_server_that_refuses_the_connection_cannot_be_reached() -> None:
    async with serving() as web:
        pass
    with pytest.raises(Unreachable, match="cannot be reached"):
        await fetch(web.url("/a"))


async def test_other_ports_are_not_read_unless_a_setting_names_them() -> None:
    with pytest.raises(Unreachable, match="port 22 is not one of those that are read"):
        await fetch("http://pictures.example:22/a", resolve=found("93.184.215.14"))
    resolve = found("10.0.0.1")
    with pytest.raises(Unreachable, match="not in the public internet"):
        await fetch("http://pictures.example:8080/a", resolve=resolve, ports=(8080,))
    assert resolve.asked == ["pictures.example"]


async def test_a_trusted_host_may_be_limited_to_one_port() -> None:
    async with serving(a=ok(PNG)) as web, serving(a=ok(PNG)) as other:
        trusted = (f"127.0.0.1:{web.port}",)
        assert (await fetch(web.url("/a"), trusted=trusted)).data == PNG
        with pytest.raises(Unreachable, match="not in the public internet"):
            await fetch(other.url("/a"), trusted=trusted)
    assert other.heads == []


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """The certificate of a server with the name `pictures.test`; only `ca.pem` of the folder trusts it."""
    Authority.at(tmp_path).issue("server", ["pictures.test"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder_of(tmp_path) / "server.pem")
    return context


async def test_the_certificate_must_be_of_the_name_in_the_url(certificate: ssl.SSLContext, tmp_path: Path) -> None:
    known = network("", "", "", folder_of(tmp_path) / "ca.pem")
    trusted = ("pictures.test", "other.test")
    async with serving(certificate, a=ok(PNG)) as web:
        url = web.url("/a", "pictures.test", "https")
        fetched = await fetch(url, network=known, trusted=trusted, resolve=found("127.0.0.1"))
        with pytest.raises(Unreachable, match="certificate of its server is not trusted"):
            await fetch(url, trusted=trusted, resolve=found("127.0.0.1"))
        with pytest.raises(Unreachable, match="certificate of its server is not trusted"):
            other = web.url("/a", "other.test", "https")
            await fetch(other, network=known, trusted=trusted, resolve=found("127.0.0.1"))
    assert fetched.data == PNG
    assert web.paths == ["/a"]


@dataclass
class Proxy:
    """A proxy that answers for every server at http itself, and opens tunnels to the port `server` of this machine."""

    port: int = 0
    server: int = 0
    heads: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        if not head.startswith("CONNECT "):
            writer.write(ok(PNG, "image/png"))
        elif not self.server:
            writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            theirs, ours = await asyncio.open_connection("127.0.0.1", self.server)
            await asyncio.gather(_pass(reader, ours), _pass(theirs, writer))
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while read := await reader.read(65536):
            writer.write(read)
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A proxy that runs."""
    made = Proxy()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield made


async def test_through_a_proxy_names_are_the_proxys_and_private_addresses_are_refused(proxy: Proxy) -> None:
    proxied = network(f"http://me:pass@127.0.0.1:{proxy.port}", "", "", None)
    resolve = found()
    url = "http://only-the-proxy-knows.example/a?b=c"
    assert (await fetch(url, network=proxied, resolve=resolve)).data == PNG
    for host in ("10.0.0.1", "169.254.169.254", "[::1]", "localhost", "127.1", "0xa000001"):
        with pytest.raises(Unreachable, match="not in the public internet"):
            await fetch(f"http://{host}/a", network=proxied, trusted=())
    assert resolve.asked == []
    (head,) = proxy.heads
    assert head.splitlines()[0] == f"GET {url} HTTP/1.1"
    assert "Proxy-Authorization: Basic bWU6cGFzcw==" in head


async def test_https_goes_through_a_tunnel_of_the_proxy(
    proxy: Proxy, certificate: ssl.SSLContext, tmp_path: Path
) -> None:
    proxied = network("", f"http://127.0.0.1:{proxy.port}", "", folder_of(tmp_path) / "ca.pem")
    with pytest.raises(Unreachable, match="the proxy answered 403"):
        await fetch("https://pictures.test/a", network=proxied)
    async with serving(certificate, a=ok(PNG)) as web:
        proxy.server = web.port
        assert (await fetch("https://pictures.test/a", network=proxied)).data == PNG
    assert [head.splitlines()[0] for head in proxy.heads] == ["CONNECT pictures.test:443 HTTP/1.1"] * 2
    assert web.paths == ["/a"]
