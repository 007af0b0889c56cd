"""A stack with certificates for its processes and TLS on its public port."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import httpx
import pytest
from soma.policy.v1.policy_service_pb2 import DECISION_ALLOW, EvaluateRequest
from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from services.declared import SERVICES
from services.mesh.testing.waiting import until
from tests.cli.commands import Result, soma, status
from tests.ports import free_port

# Each channel has its own connection, and so its own handshake.
APART = [("grpc.use_local_subchannel_pool", 1)]
ALL_BUT_POLICY = ",".join(name for name in SERVICES if name != "policy")


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """A data directory; stacks on it use certificates between processes, and are stopped at the end."""
    monkeypatch.setenv("SOMA_MTLS", "on")
    yield tmp_path / "data"
    await soma("down", "--data-dir", tmp_path / "data")


async def start(
    home: Path, port: int, *more: str | Path, without: str = ALL_BUT_POLICY, seconds: float = 60.0
) -> Result:
    arguments: list[str | Path] = ["up", "--dev", "--detach", "--data-dir", home, "--port", str(port)]
    return await soma(*arguments, "--without", without, *more, seconds=seconds)


async def evaluate(home: Path) -> Result:
    return await soma(
        "call", "PolicyService/Evaluate", '{"action": "chat.input", "content": "hello"}', "--data-dir", home
    )


async def shown(port: int, home: Path, *protocols: str) -> tuple[bytes, str | None]:
    """The certificate and the protocol of a new connection to the public port."""
    context = ssl.create_default_context(cafile=home / "tls" / "ca.pem")
    context.set_alpn_protocols(list(protocols))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        connection = writer.get_extra_info("ssl_object")
        return connection.getpeercert(binary_form=True), connection.selected_alpn_protocol()
    finally:
        writer.close()


async def unverified(port: int) -> str:
    """The certificate of the public port, without verification."""
    return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))


async def test_certificates_are_rotated_without_a_restart_or_a_failed_call(
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
            # Each call has its own connection, so it needs a handshake at the port and behind it.
            async with grpc.aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(authority)) as channel:
                request = EvaluateRequest(action="chat.input", content="hello")
                answer = await PolicyServiceStub(channel).Evaluate(request, metadata=metadata, timeout=10)
            assert answer.decision == DECISION_ALLOW
            calls += 1

    async with asyncio.TaskGroup() as clients:
        clients.create_task(call())
        assert (await soma("certs", "rotate", "--data-dir", home)).status == 0

        async def wait_until_trusted() -> bool:
            return (await shown(port, home, "h2"))[0] != certificate

        await until(wait_until_trusted, "the public port shows its new certificate", seconds=20)
        # A process that starts now has a new certificate, and so have all processes that it calls.
        restarted = await soma("restart", "serve-policy", "--data-dir", home)
        assert (restarted.status, restarted.errors) == (0, "")
        stop.set()
    assert calls > 0
    after = {part["name"]: part["pid"] for part in (await status(home))["parts"]}
    assert {name for name in before if before[name] != after[name]} == {"serve-policy"}
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=home / "tls" / "ca.pem")) as client:
        assert (await client.get(f"https://localhost:{port}/health")).status_code == 200


async def test_a_new_authority_takes_the_place_of_the_old_one_while_clients_are_served(home: Path) -> None:
    port = free_port()
    started = await start(home, port, "--apart", "policy,model", "--tls", without="memory,orchestrator", seconds=120)
    assert (started.status, started.errors) == (0, "")
    folder, key = home / "tls", (home / "dev.key").read_text().strip()
    old = (folder / "ca.pem").read_bytes()
    before = {part["name"]: part["pid"] for part in (await status(home))["parts"]}
    stop, done = asyncio.Event(), {"policy": 0, "edge": 0}

    async def call_policy() -> None:
        # With only the old authority: clients that have it are served until it is retired.
        async with grpc.aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(old), APART) as channel:
            request = EvaluateRequest(action="chat.input", content="hello")
            answer = await PolicyServiceStub(channel).Evaluate(
                request, metadata=[("authorization", f"Bearer {key}")], timeout=20
            )
        assert answer.decision == DECISION_ALLOW

    async def call_edge() -> None:
        trusting = ssl.create_default_context(cadata=old.decode())
        async with httpx.AsyncClient(verify=trusting, headers={"authorization": f"Bearer {key}"}, timeout=20) as http:
            answer = await http.get(f"https://localhost:{port}/v1/models")
        assert answer.status_code == 200, answer.text

    async def keep(name: str, call: Callable[[], Awaitable[None]]) -> None:
        while not stop.is_set():
            await call()
            done[name] += 1

    async def more() -> None:
        """Wait until a few more calls of each kind have succeeded."""
        counts = dict(done)
        await until(lambda: all(done[name] > counts[name] + 2 for name in done), "calls go on", seconds=30)

    async with asyncio.TaskGroup() as clients:
        for name, call in (("policy", call_policy), ("edge", call_edge)):
            clients.create_task(keep(name, call))
        await more()
        rotated = await soma("certs", "rotate", "--ca", "--data-dir", home)
        assert (rotated.status, rotated.errors) == (0, "")
        await more()
        restarted = await soma("restart", "serve-policy", "serve", "--data-dir", home, seconds=120)
        assert (restarted.status, restarted.errors) == (0, "")
        await more()
        stop.set()
    after = {part["name"]: part["pid"] for part in (await status(home))["parts"]}
    assert {name for name in before if before[name] != after[name]} == {"serve-policy", "serve"}

    retired = await soma("certs", "retire", "--data-dir", home)
    assert (retired.status, retired.errors) == (0, "")
    assert (folder / "ca.pem").read_bytes() != old
    trusting = ssl.create_default_context(cafile=folder / "ca.pem")

    async def shown_by_the_new() -> bool:
        try:
            async with httpx.AsyncClient(verify=trusting, headers={"authorization": f"Bearer {key}"}) as http:
                return (await http.get(f"https://localhost:{port}/v1/models")).status_code == 200
        except httpx.ConnectError:
            return False

    await until(shown_by_the_new, "the public port shows a certificate of the new authority", seconds=20)
    with pytest.raises(httpx.ConnectError):
        await call_edge()


async def test_a_given_certificate_is_replaced_while_the_port_serves(home: Path, tmp_path: Path) -> None:
    own, port = tmp_path / "own", free_port()
    issue = ("certs", "issue", "serve-own", "--services", "policy", "--out", own, "--data-dir", home)
    assert (await soma(*issue)).status == 0
    pem = own / "serve-own.pem"
    assert (await start(home, port, "--tls-cert", pem, "--tls-key", pem)).status == 0
    first = await unverified(port)
    whole = pem.read_text()
    pem.write_text(whole[: len(whole) // 2])
    log = home / "logs" / "control.log"
    await until(lambda: "not taken up" in log.read_text(), "what cannot be used is logged", seconds=20)
    assert await unverified(port) == first
    assert (await soma(*issue)).status == 0

    async def replaced() -> bool:
        return await unverified(port) != first

    await until(replaced, "the public port shows the new one", seconds=20)


@pytest.mark.parametrize(("content", "named"), [("nothing of the kind", "own.pem"), (None, "No such file")])
async def test_a_certificate_that_cannot_be_used_stops_the_start(
    home: Path, tmp_path: Path, content: str | None, named: str
) -> None:
    own = tmp_path / "own.pem"
    if content is not None:
        own.write_text(content)
    started = await start(home, free_port(), "--tls-cert", own, "--tls-key", own)
    assert started.status == 1
    assert named in started.errors


async def test_a_given_certificate_is_used_on_the_public_port(home: Path, tmp_path: Path) -> None:
    made = await soma(
        "certs", "issue", "serve-elsewhere", "--services", "policy", "--out", tmp_path / "own", "--data-dir", home
    )
    assert made.status == 0
    own, port = tmp_path / "own" / "serve-elsewhere.pem", free_port()
    started = await start(home, port, "--without", "policy," + ALL_BUT_POLICY, "--tls-cert", own, "--tls-key", own)
    assert (started.status, started.errors) == (0, "")
    assert (await unverified(port)).strip() in own.read_text()


async def test_a_process_without_a_certificate_cannot_join(home: Path) -> None:
    assert (await start(home, free_port())).status == 0
    joining = await soma("serve", "policy", "--data-dir", home)
    assert joining.status == 1
    assert "serve-policy.pem does not exist; soma certs issue makes certificates" in joining.errors


async def test_a_certificate_without_its_key_stops_the_start(home: Path, tmp_path: Path) -> None:
    started = await start(home, free_port(), "--tls-cert", tmp_path / "chain.pem")
    assert started.status == 1
    assert "tls_cert and tls_key go together" in started.errors
