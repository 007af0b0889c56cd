"""Callers of processes that have certificates."""

import ssl
from pathlib import Path

import aiohttp
import grpc
from soma.testing.v1.echo_service_pb2 import EchoRequest
from soma.testing.v1.echo_service_pb2_grpc import EchoServiceStub

from services.mesh.call.process_name import host_of
from services.mesh.transport.tls.identity import CA

KEY = "soma_dev_of_the_test"
MESSAGE_BYTES = 4 * 1024 * 1024


async def echo(channel: grpc.aio.Channel) -> str:
    """Call through a channel, and close it."""
    async with channel:
        metadata = [("authorization", f"Bearer {KEY}")]
        answer = await EchoServiceStub(channel).Echo(EchoRequest(text="hello"), metadata=metadata, timeout=10)
        return answer.text


def client_context(folder: Path, pem: Path) -> ssl.SSLContext:
    """The TLS settings of a caller with a certificate."""
    context = ssl.create_default_context(cafile=folder / CA)
    context.load_cert_chain(pem)
    return context


async def get(port: int, context: ssl.SSLContext) -> str:
    """The answer of an HTTP application."""
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"https://127.0.0.1:{port}/", server_hostname=host_of("edge")) as response,
    ):
        return await response.text()
