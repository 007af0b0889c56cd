"""Services in processes of their own: started apart, killed, or joined by hand."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.parts.serve import get_status
from services.declared import SERVICES
from services.mesh.call.errors import Code
from services.mesh.settings import Settings
from services.mesh.testing.waiting import until
from tests.cli.commands import Result, soma, status, up
from tests.ports import free_port

EVALUATE = ("call", "PolicyService/Evaluate", '{"action": "chat.input", "content": "hello"}')
ALL_BUT_POLICY = ",".join(name for name in SERVICES if name != "policy")


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Path]:
    """A data directory; a stack on it is stopped at the end."""
    yield tmp_path / "data"
    await soma("down", "--data-dir", tmp_path / "data")


async def start(home: Path, *more: str) -> Result:
    arguments = ["up", "--dev", "--detach", "--data-dir", str(home), "--port", str(free_port()), *more]
    return await soma(*arguments)


async def evaluate(home: Path) -> Result:
    return await soma(*EVALUATE, "--data-dir", home)


async def part(home: Path, name: str) -> dict[str, Any]:
    return next(part for part in (await status(home))["parts"] if part["name"] == name)


async def test_a_service_apart_is_killed_and_serves_again(home: Path) -> None:
    started = await start(home, "--without", ALL_BUT_POLICY, "--apart", "policy")
    assert (started.status, started.errors) == (0, "")
    assert (await evaluate(home)).status == 0
    before = await part(home, "serve-policy")
    os.kill(before["pid"], signal.SIGKILL)

    async def again() -> bool:
        now = await part(home, "serve-policy")
        return (now["state"], now["restarts"]) == ("ready", 1) and bool(now["pid"] != before["pid"])

    await until(again, "it is ready again", seconds=60)
    assert (await evaluate(home)).status == 0


async def test_a_service_that_is_left_out_is_unavailable_until_a_process_that_serves_it_joins(home: Path) -> None:
    assert (await up(home, free_port())).status == 0
    assert (await evaluate(home)).status == 64 + Code.UNAVAILABLE
    command = [sys.executable, "-P", "-m", "cli.main", "serve", "policy", "--data-dir", str(home)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:

        async def served() -> bool:
            return (await evaluate(home)).status == 0

        await until(served, "the call is answered", seconds=60)
    finally:
        process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() == 0

    async def gone() -> bool:
        return (await evaluate(home)).status == 64 + Code.UNAVAILABLE

    await until(gone, "the service is unavailable again", seconds=30)


async def test_a_stack_of_one_service_runs_no_part_that_it_does_not_need(home: Path, tmp_path: Path) -> None:
    started = await start(home, "--without", ALL_BUT_POLICY)
    assert (started.status, started.errors) == (0, "")
    assert [part["name"] for part in (await status(home))["parts"]] == ["redis", "control", "envoy", "serve"]
    assert (await evaluate(home)).status == 0
    events = await soma("call", "EventService/ListEventStreams", "{}", "--data-dir", home)
    assert events.status == 64 + Code.UNAVAILABLE
    refused = await soma("serve", "memory", "--data-dir", home)
    assert refused.status == 1
    assert "serves memory needs postgres_url (SOMA_POSTGRES_URL)" in refused.errors
    taken = await soma("backup", tmp_path / "backup", "--data-dir", home)
    assert (taken.status, taken.errors) == (0, "")
    assert "no Postgres" in taken.output
    other = tmp_path / "other"
    assert (await soma("restore", tmp_path / "backup", "--data-dir", other)).status == 0
    assert (other / "dev.key").read_text() == (home / "dev.key").read_text()
    assert not (other / "postgres" / "data").exists()


async def test_a_process_that_joins_opens_no_part_that_its_services_do_not_need(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await start(home, "--without", ",".join(SERVICES), "--parts", "redis")).status == 0
    # Nobody answers there, and nobody asks.
    monkeypatch.setenv("SOMA_POSTGRES_URL", f"postgresql://soma:none@127.0.0.1:{free_port()}/soma")
    command = [sys.executable, "-P", "-m", "cli.main", "serve", "policy", "--data-dir", str(home)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:

        async def served() -> bool:
            return (await evaluate(home)).status == 0

        await until(served, "the call is answered", seconds=60)
    finally:
        process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() == 0


async def test_a_service_that_uses_a_part_it_does_not_declare_does_not_start(home: Path, tmp_path: Path) -> None:
    assert (await up(home, free_port())).status == 0
    # The command, of a mesh whose edge has forgotten to declare Redis.
    (tmp_path / "forgetful.py").write_text(
        "from dataclasses import replace\n"
        "import gateway.edge.main as edge, cli.main\n"
        "edge.SERVICE = replace(edge.SERVICE, needs=())\n"
        "cli.main.app()\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", str(tmp_path / "forgetful.py"), "serve", "edge", "--data-dir", str(home)),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert b"edge uses redis, and its declaration does not name it in `needs`" in said


async def test_an_orchestrator_finds_a_process_at_the_ports_it_was_given(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, admin, grpc_port = free_port(), free_port(), free_port()
    monkeypatch.setenv("SOMA_CONTROL_PORT", str(control))
    assert (await up(home, free_port())).status == 0
    assert (await part(home, "control"))["port"] == control
    monkeypatch.setenv("SOMA_ADMIN_PORT", str(admin))
    monkeypatch.setenv("SOMA_GRPC_PORT", str(grpc_port))
    command = [sys.executable, "-P", "-m", "cli.main", "serve", "policy", "--data-dir", str(home)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:

        async def ready() -> bool:
            try:
                return (await get_status(f"127.0.0.1:{admin}", "/ready"))[0] == 200
            except OSError:
                return False

        await until(ready, "the process is ready", seconds=60)
        assert (await get_status(f"127.0.0.1:{admin}", "/health"))[0] == 200
        assert (await evaluate(home)).status == 0
        second = await soma("serve", "policy", "--data-dir", home)
        assert second.status == 1
        assert f"cannot listen on 127.0.0.1:{grpc_port}" in second.errors
    finally:
        process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() == 0


async def test_a_service_that_does_not_exist_is_refused_by_both_commands(home: Path) -> None:
    apart = await start(home, "--apart", "memmory")
    assert apart.status == 1
    assert "'memmory'" in apart.errors
    served = await soma("serve", "memmory", "--data-dir", home)
    assert served.status == 1
    assert "memmory" in served.errors


async def test_processes_of_one_stack_share_no_port_whatever_the_settings_say(home: Path, tmp_path: Path) -> None:
    config = tmp_path / "soma.toml"
    ports = {name: free_port() for name in Settings.inner_ports()}
    config.write_text("".join(f"{name} = {port}\n" for name, port in ports.items()))
    arguments = ["--without", ALL_BUT_POLICY, "--workers", "2", "--port", str(free_port())]
    started = await soma("up", "--dev", "--detach", "--data-dir", home, *arguments, cwd=tmp_path)
    assert (started.status, started.errors) == (0, "")
    assert (await part(home, "control"))["port"] == ports["control_port"]
    restarted = await soma("restart", "--data-dir", home, cwd=tmp_path)
    assert (restarted.status, restarted.errors) == (0, "")
    assert {line.split(":")[0] for line in restarted.output.splitlines()} == {"serve-1", "serve-2"}


async def test_each_http_service_of_a_process_is_announced_at_its_own_address(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    assert (await up(home, port)).status == 0
    key = (home / "dev.key").read_text().strip()
    # The service that the gateway has routes to comes last.
    command = [sys.executable, "-P", "-m", "cli.main", "serve", "testing", "edge", "--data-dir", str(home)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        assert process.stderr is not None
        async with asyncio.timeout(60):
            while b'"serving"' not in (line := await process.stderr.readline()):
                assert line, "the process has ended"
        addresses = json.loads(line)["http"]
        assert set(addresses) == {"testing", "edge"}
        assert (await get_status(addresses["testing"], "/"))[1] == "testing"
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}) as http:

            async def led_to_the_edge() -> bool:
                answer = await http.post(f"http://127.0.0.1:{port}/v1/chat/completions", json={})
                return answer.status_code == 400 and "messages" in answer.json()["error"]["message"]

            await until(led_to_the_edge, "the edge answers", seconds=30)
    finally:
        process.terminate()
        async with asyncio.timeout(30):
            await process.communicate()
    monkeypatch.setenv("SOMA_HTTP_PORT", str(free_port()))
    refused = await soma("serve", "testing", "edge", "--data-dir", home)
    assert refused.status == 1
    assert "http_port (SOMA_HTTP_PORT) is" in refused.errors
