"""A stack whose processes have certificates, with TLS on the public port."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import pytest
from soma.policy.v1.policy_service_pb2 import DECISION_ALLOW, EvaluateRequest
from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from cli.layout import SERVICES
from cli.parts.port import free_port
from tests.cli.commands import Ended, soma, status
from tests.cli.eventually import eventually_true

ALL_BUT_POLICY = ",".join(name for name in SERVICES if name != "policy")


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """A data directory; processes of stacks on it have certificates, and it is stopped at the end."""
    monkeypatch.setenv("SOMA_MTLS", "on")
    yield tmp_path / "data"
    await soma("down", "--data-dir", tmp_path / "data")


async def start(home: Path, port: int, *more: str | Path) -> Ended:
    arguments: list[str | Path] = ["up", "--dev", "--detach", "--data-dir", home, "--port", str(port)]
    return await soma(*arguments, "--without", ALL_BUT_POLICY, *more)


async def evaluate(home: Path) -> Ended:
    return await soma(
        "call", "PolicyService/Evaluate", '{"action": "chat.input", "content": "hello"}', "--data-dir", home
    )


async def shown(port: int, home: Path, *protocols: str) -> tuple[bytes, str | None]:
    """The certificate of a new connection to the public port, and the protocol agreed on."""
    context = ssl.create_default_context(cafile=home / "tls" / "ca.pem")
    context.set_alpn_protocols(list(protocols))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        connection = writer.get_extra_info("ssl_object")
        return connection.getpeercert(binary_form=True), connection.selected_alpn_protocol()
    finally:
        writer.close()


async def test_everything_works_with_certificates_and_they_are_rotated_without_a_restart_or_a_failed_call(
    home: Path,
) -> None:
    port = free_port()
    started = await start(home, port, "--apart", "policy", "--tls")
    assert (started.status, started.errors) == (0, "")
    assert (await evaluate(home)).status == 0
    authority = (home / "tls" / "ca.pem").read_bytes()
    metadata = [("authorization", f"Bearer {(home / 'dev.key').read_text().strip()}")]
    before = {part["name"]: part["pid"] for part in (await status(home))["parts"]}
    certificate, protocol = await shown(port, home, "h2", "http/1.1")
    assert protocol == "h2"
    assert (await shown(port, home, "http/1.1"))[1] == "http/1.1"
    stop = asyncio.Event()
    calls = 0

    async def call() -> None:
        nonlocal calls
        while not stop.is_set():
            # A connection of its own each time: a handshake in front, and what is behind it.
            async with grpc.aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(authority)) as channel:
                request = EvaluateRequest(action="chat.input", content="hello")
                answer = await PolicyServiceStub(channel).Evaluate(request, metadata=metadata, timeout=10)
            assert answer.decision == DECISION_ALLOW
            calls += 1

    async with asyncio.TaskGroup() as clients:
        clients.create_task(call())
        assert (await soma("certs", "--renew", "--data-dir", home)).status == 0

        async def taken_up() -> bool:
            return (await shown(port, home, "h2"))[0] != certificate

        await eventually_true(taken_up, "the public port shows its new certificate", seconds=20)
        # A process that starts now has a new certificate, and so has everyone it talks to.
        restarted = await soma("restart", "serve-policy", "--data-dir", home)
        assert (restarted.status, restarted.errors) == (0, "")
        stop.set()
    assert calls > 0
    after = {part["name"]: part["pid"] for part in (await status(home))["parts"]}
    assert {name for name in before if before[name] != after[name]} == {"serve-policy"}
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=home / "tls" / "ca.pem")) as client:
        assert (await client.get(f"https://localhost:{port}/health")).status_code == 200


async def test_a_certificate_of_ones_own_is_shown_on_the_public_port(home: Path, tmp_path: Path) -> None:
    made = await soma("certs", "serve-elsewhere", "--services", "policy", "--out", tmp_path / "own", "--data-dir", home)
    assert made.status == 0
    own, port = tmp_path / "own" / "serve-elsewhere.pem", free_port()
    started = await start(home, port, "--without", "policy," + ALL_BUT_POLICY, "--tls-cert", own, "--tls-key", own)
    assert (started.status, started.errors) == (0, "")
    certificate = (await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))).strip()
    assert certificate in own.read_text()


async def test_a_process_without_a_certificate_cannot_join(home: Path) -> None:
    assert (await start(home, free_port())).status == 0
    joining = await soma("serve", "policy", "--data-dir", home)
    assert joining.status == 1
    assert "serve-policy.pem does not exist; soma certs makes certificates" in joining.errors


async def test_a_certificate_without_its_key_stops_the_start(home: Path, tmp_path: Path) -> None:
    started = await start(home, free_port(), "--tls-cert", tmp_path / "chain.pem")
    assert started.status == 1
    assert "tls_cert and tls_key go together" in started.errors
