"""Processes accept neighbours with a certificate, over gRPC and HTTP; others are refused with a reason."""

import asyncio
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from soma.testing.v1.echo_service_pb2 import EchoRequest, Script, StreamEchoRequest, StreamEchoResponse
from soma.testing.v1.echo_service_pb2_grpc import EchoServiceStub
from structlog.testing import capture_logs

from services.mesh.call.process_name import host_of
from services.mesh.transport.directory import Directory, Endpoint
from services.mesh.transport.remote.channel import RemoteChannel
from services.mesh.transport.router import Router, open_channel
from services.mesh.transport.tls.authority import Authority
from services.mesh.transport.tls.identity import CA, Identity
from tests.mesh.transport.tls.neighbours import KEY, MESSAGE_BYTES, client_context, echo, get
from tests.slow_link import slow_link


def channel_of(address: str, folder: Path, pem: Path | None) -> grpc.aio.Channel:
    """A channel with any certificate, as another program would make it."""
    ca = (folder / CA).read_bytes()
    content = pem.read_bytes() if pem is not None else b""
    begin = content.find(b"-----BEGIN CERTIFICATE-----")
    credentials = grpc.ssl_channel_credentials(ca, content[:begin] or None, content[begin:] or None if pem else None)
    return grpc.aio.secure_channel(address, credentials, [("grpc.ssl_target_name_override", host_of("echo"))])


async def test_a_neighbour_is_served(address: str, authority: Authority, folder: Path) -> None:
    authority.issue("serve-2", [host_of("other")])
    assert await echo(open_channel(address, "echo", Identity(folder, "serve-2"), MESSAGE_BYTES)) == "hello"


async def test_a_neighbours_handshake_may_take_as_long_as_on_a_busy_machine(
    address: str, authority: Authority, folder: Path
) -> None:
    authority.issue("serve-2", [host_of("other")])
    async with slow_link(int(address.rpartition(":")[2]), 1.5) as port:
        assert (
            await echo(open_channel(f"127.0.0.1:{port}", "echo", Identity(folder, "serve-2"), MESSAGE_BYTES)) == "hello"
        )


async def test_a_server_whose_certificate_does_not_name_the_service_is_refused(
    address: str, authority: Authority, folder: Path
) -> None:
    authority.issue("serve-2")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await echo(open_channel(address, "memory", Identity(folder, "serve-2"), MESSAGE_BYTES))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "Hostname Verification Check failed" in (refused.value.details() or "")


async def test_a_caller_without_a_certificate_is_refused(
    address: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await echo(channel_of(address, folder, None))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in capfd.readouterr().err


async def test_a_certificate_of_another_authority_is_refused(
    address: str, stranger: Authority, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await echo(channel_of(address, folder, stranger.issue("serve-2")))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate" in capfd.readouterr().err


async def test_an_expired_certificate_is_refused(
    address: str, authority: Authority, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await echo(channel_of(address, folder, authority.issue("old", lifetime=timedelta(seconds=-1))))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "CERTIFICATE_VERIFY_FAILED: certificate has expired" in capfd.readouterr().err


async def test_plain_text_is_refused(address: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await echo(grpc.aio.insecure_channel(address))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_of_no_neighbour_is_refused_with_a_typed_reason_in_the_log(
    address: str, authority: Authority, folder: Path
) -> None:
    with capture_logs() as lines, pytest.raises(grpc.aio.AioRpcError) as refused:
        await echo(channel_of(address, folder, authority.issue("printer")))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    told = next(line for line in lines if line["event"] == "peer refused")
    assert (told["reason"], told["peer"]) == ("PEER_NOT_ALLOWED", ["spiffe://somamesh/printer"])


async def served_certificate(port: int, context: ssl.SSLContext, host: str) -> bytes:
    """The certificate that a server shows in a new handshake, as DER."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert isinstance(shown, bytes)
        return shown
    finally:
        writer.close()


async def test_a_server_shows_a_rotated_certificate_and_calls_go_on(
    address: str, authority: Authority, folder: Path
) -> None:
    client = authority.issue("serve-2")
    context, port = client_context(folder, client), int(address.rpartition(":")[2])
    context.set_alpn_protocols(["h2"])
    identity = Identity(folder, "serve-2")
    channel = open_channel(address, "echo", identity, MESSAGE_BYTES)
    stub, metadata = EchoServiceStub(channel), [("authorization", f"Bearer {KEY}")]
    await stub.Echo(EchoRequest(text="before"), metadata=metadata, timeout=10)
    before = await served_certificate(port, context, host_of("echo"))
    authority.renew(folder / "serve.pem")
    assert await served_certificate(port, context, host_of("echo")) != before
    assert (await stub.Echo(EchoRequest(text="after"), metadata=metadata, timeout=10)).text == "after"
    await channel.close()


async def test_calls_take_a_new_channel_once_the_callers_certificate_has_been_rotated(
    address: str, authority: Authority, folder: Path
) -> None:
    path, directory = authority.issue("serve-2"), Directory()
    directory.replace([Endpoint("echo", address, "1")])
    router = Router({}, directory, _NothingMore(), MESSAGE_BYTES, Identity(folder, "serve-2"))
    first = router.route("echo")
    assert router.route("echo") is first
    authority.renew(path)
    second = router.route("echo")
    assert second is not first
    await router.close()


async def test_a_stream_lasts_on_its_old_channel_after_a_rotation(
    address: str, authority: Authority, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience: list[float | None] = []
    close = RemoteChannel.close

    async def noted(channel: RemoteChannel, grace: float | None = None) -> None:
        patience.append(grace)
        await close(channel, grace)

    monkeypatch.setattr(RemoteChannel, "close", noted)
    path, directory = authority.issue("serve-2"), Directory()
    directory.replace([Endpoint("echo", address, "1")])
    router = Router({}, directory, _NothingMore(), MESSAGE_BYTES, Identity(folder, "serve-2"))
    script = Script(count=1000, interval_seconds=0.02)
    request, metadata = StreamEchoRequest(text="hello", script=script), [("authorization", f"Bearer {KEY}")]
    stream = EchoServiceStub(router.route("echo")).StreamEcho(request, metadata=metadata, timeout=60)
    await stream.read()
    authority.renew(path)
    router.route("echo")
    for _ in range(3):
        assert isinstance(await stream.read(), StreamEchoResponse)
    # Longer than any call may take.
    assert patience
    assert (patience[0] or 0) > 3600
    stream.cancel()
    async with asyncio.timeout(15):
        await router.close()


class _NothingMore:
    """Adds nothing to a call."""

    def timeout(self, timeout: float | None) -> float | None:
        return timeout

    def metadata(self, metadata: Any) -> Any:
        return metadata


async def test_an_http_application_serves_the_gateway(port: int, authority: Authority, folder: Path) -> None:
    assert await get(port, client_context(folder, authority.issue("envoy"))) == "hello"


async def test_an_http_application_refuses_other_processes(port: int, authority: Authority, folder: Path) -> None:
    with pytest.raises(aiohttp.ClientError):
        await get(port, client_context(folder, authority.issue("serve-2")))


async def test_an_http_application_refuses_those_without_a_certificate(port: int, folder: Path) -> None:
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        await get(port, ssl.create_default_context(cafile=folder / CA))


async def test_an_http_application_shows_a_rotated_certificate(port: int, authority: Authority, folder: Path) -> None:
    context = client_context(folder, authority.issue("envoy"))
    before = await served_certificate(port, context, host_of("edge"))
    authority.renew(folder / "serve.pem")
    assert await served_certificate(port, context, host_of("edge")) != before
