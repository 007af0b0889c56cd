"""The address at which a stack listens, and how its output names it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cli.data_dir import DataDir
from cli.demo import lines_to_copy
from cli.endpoint import Endpoint, find_endpoint
from cli.parts.serve import get_status
from cli.stack import public_url
from services.declared import SERVICES
from services.mesh.call.errors import InvalidArgument
from services.mesh.settings import Settings
from services.mesh.transport.address import joined
from tests.cli.commands import soma, status, up
from tests.ports import free_port


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Path]:
    """A data directory; a stack on it is stopped at the end."""
    yield tmp_path / "data"
    await soma("down", "--data-dir", tmp_path / "data")


@pytest.mark.parametrize(("host", "named"), [("::1", "[::1]"), ("localhost", "localhost"), ("::", "[::1]")])
async def test_a_stack_is_reached_by_the_line_it_prints(home: Path, host: str, named: str) -> None:
    port = free_port()
    started = await up(home, port, "--host", host)
    assert (started.status, started.errors) == (0, "")
    found = await status(home)
    assert found["url"] == f"http://{named}:{port}"
    (line,) = [line for line in started.output.splitlines() if line.startswith("curl ")]
    curl = await asyncio.create_subprocess_shell(
        f"{line} -sS -o {home}/answer -w '%{{http_code}}'", stdout=asyncio.subprocess.PIPE
    )
    code, _ = await curl.communicate()
    # No edge has been in this stack, so the gateway itself answers that it has no such path.
    assert code == b"404", code


async def test_processes_find_each_other_at_an_ipv6_address(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMA_BIND", "::1")
    without = ",".join(name for name in SERVICES if name != "policy")
    port = free_port()
    ended = await soma(
        *("up", "--dev", "--detach", "--data-dir", home, "--host", "[::1]", "--port", str(port), "--without", without)
    )
    assert (ended.status, ended.errors) == (0, "")
    found = await status(home)
    headers = {"authorization": f"Bearer {found['api_key']}"}
    async with httpx.AsyncClient(base_url=found["url"], headers=headers, timeout=10) as http:
        ready = await http.get("/ready")
        decided = await http.post("/v1/policy/evaluate", json={"action": "tool.execute", "resource": "a"})
        metrics = await http.get("/metrics")
    assert ready.json()["services"] == {"policy": "ok"}
    assert decided.status_code == 200, decided.text
    assert 'instance="[::1]:' in metrics.text


@pytest.mark.parametrize("host", ["fe80::1%lo", "nosuch.invalid", "198.51.100.1", "localhost:80"])
async def test_a_host_nobody_can_listen_on_is_refused_in_one_line(home: Path, host: str) -> None:
    ended = await up(home, free_port(), "--host", host)
    assert ended.status == 1
    assert ended.errors.startswith("soma: ")
    assert ended.errors.count("\n") == 1
    assert host in ended.errors


@pytest.mark.parametrize(
    ("host", "address", "url"),
    [
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "::", "http://[::1]:8080"),
        ("::1", "::1", "http://[::1]:8080"),
        ("[::1]", "::1", "http://[::1]:8080"),
        ("localhost", "127.0.0.1", "http://localhost:8080"),
        ("everywhere", "0.0.0.0", "http://127.0.0.1:8080"),
    ],
)
def test_a_client_on_this_machine_can_use_the_url(host: str, address: str, url: str) -> None:
    assert public_url(Settings(host=host), address) == url


def test_a_line_to_copy_keeps_brackets_from_the_shell() -> None:
    curl, grpcurl, python = lines_to_copy(Endpoint("http://[::1]:8080", "key"), "m")
    assert curl.endswith(" 'http://[::1]:8080/v1/chat/completions'")
    assert " '[::1]:8080' " in grpcurl
    assert "base_url='http://[::1]:8080/v1'" in python


async def test_a_process_that_listens_on_ipv6_is_probed() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nready")
        writer.close()

    server = await asyncio.start_server(answer, "::1", 0, family=socket.AF_INET6)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await get_status(joined("::1", port), "/ready") == (200, "ready")


@pytest.mark.parametrize(
    "url", ["http://here:99999", "http://[::1", "here:8080", "ftp://here", "http://", "http://:80"]
)
def test_an_invalid_url_is_refused_with_the_place_where_it_was_given(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        find_endpoint(DataDir.at(tmp_path), url, None)
    assert refused.value.message.startswith("--url: the URL ")


async def test_a_command_connects_to_an_ipv6_address() -> None:
    asked = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()

    server = await asyncio.start_server(listen, "::1", 0, family=socket.AF_INET6)
    async with server, Endpoint(f"http://[::1]:{server.sockets[0].getsockname()[1]}", None).channel() as channel:
        channel.get_state(try_to_connect=True)
        async with asyncio.timeout(10):
            await asked.wait()
