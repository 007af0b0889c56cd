"""Every kind of client works if the public port has TLS and every process has a certificate."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest
import somamesh
from soma.mesh.v1.event_service_pb2 import ListEventStreamsRequest
from soma.mesh.v1.event_service_pb2_grpc import EventServiceStub
from soma.model.v1.catalog_service_pb2 import ListModelsRequest
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub
from somamesh import AsyncClient
from websockets.asyncio.client import connect

from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import MODEL, configure
from tests.e2e.stack import CALL_SECONDS, Stack, command
from tests.e2e.surfaces import events, request
from tests.e2e.test_commands import CURL, GRPCURL, needs_curl, needs_grpcurl
from tests.sdk.drivers import driving

HANDSHAKE_SECONDS = 4
BODY = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
async def secure(
    tmp_path_factory: pytest.TempPathFactory, model_server: FakeUpstream, claude_server: FakeUpstream
) -> AsyncIterator[Stack]:
    """A stack with TLS on the public port, certificates for its processes, and memory in its own process."""
    directory = tmp_path_factory.mktemp("secure")
    configure(directory, model_server, claude_server)
    settings = directory / "soma.toml"
    settings.write_text(f'mtls = "on"\n{settings.read_text()}\n[gateway]\nheaders_seconds = {HANDSHAKE_SECONDS}\n')
    shared = Stack(directory, "--apart", "memory", "--tls")
    async with AsyncExitStack() as closing:
        closing.push_async_callback(shared.down)
        await shared.up()
        yield shared


@needs_curl
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_curl_streams_a_chat(secure: Stack, version: str) -> None:
    assert CURL is not None
    ended = await command(
        *(CURL, version, "--cacert", secure.authority, "--silent", "--show-error", "--no-buffer", "--fail-with-body"),
        *("--max-time", "20", "-H", f"authorization: Bearer {secure.key}", "-H", "content-type: application/json"),
        *("-d", json.dumps(BODY), f"{secure.url}/v1/chat/completions"),
    )
    assert ended.status == 0, ended.errors
    assert ended.output.strip().endswith("data: [DONE]")


async def test_a_handshake_that_never_ends_does_not_keep_its_connection(secure: Stack) -> None:
    opened = [await asyncio.open_connection("127.0.0.1", secure.port) for _ in range(10)]
    try:
        for _, writer in opened[1:]:
            # The beginning of a TLS ClientHello.
            writer.write(bytes.fromhex("1603010200010001fc0303"))
        async with asyncio.timeout(HANDSHAKE_SECONDS + CALL_SECONDS):
            assert {await reader.read() for reader, _ in opened} == {b""}
    finally:
        for _, writer in opened:
            writer.transport.abort()


@needs_curl
async def test_a_client_that_does_not_trust_the_authority_sends_nothing(secure: Stack, upstream: FakeUpstream) -> None:
    assert CURL is not None
    ended = await command(CURL, "--silent", "-d", json.dumps(BODY), f"{secure.url}/v1/chat/completions")
    assert (ended.status, ended.output) == (60, "")
    assert upstream.requests == []


@needs_grpcurl
async def test_a_go_client_streams_a_chat_by_reflection(secure: Stack) -> None:
    assert GRPCURL is not None
    body = {"model": MODEL, "messages": [{"role": "ROLE_USER", "content": "hello"}]}
    ended = await command(
        *(GRPCURL, "-cacert", secure.authority, "-max-time", "20", "-H", f"authorization: Bearer {secure.key}"),
        *("-d", json.dumps(body), f"127.0.0.1:{secure.port}", "soma.orchestrator.v1.ChatService/Chat"),
    )
    assert ended.status == 0, ended.errors
    assert '"finished"' in ended.output


async def test_a_native_client_calls_and_streams(secure: Stack) -> None:
    async with secure.channel() as channel:
        listed = await CatalogServiceStub(channel).ListModels(
            ListModelsRequest(), metadata=secure.metadata, timeout=CALL_SECONDS
        )
        kinds = [
            event.WhichOneof("payload")
            async for event in ChatServiceStub(channel).Chat(
                request("hello"), metadata=secure.metadata, timeout=CALL_SECONDS
            )
        ]
    assert MODEL in [model.name for model in listed.models]
    assert (kinds[0], kinds[-1]) == ("started", "finished")


async def test_the_meshs_own_service_is_reached_in_every_process(secure: Stack) -> None:
    """It is reached in each process, whatever services the certificate of the process names."""
    async with secure.channel() as channel, secure.http() as http:
        stub = EventServiceStub(channel)
        for _ in range(8):
            listed = await stub.ListEventStreams(
                ListEventStreamsRequest(), metadata=secure.metadata, timeout=CALL_SECONDS
            )
            assert {stream.area for stream in listed.streams} == {"memory", "model"}
            answer = await http.get("/v1/events/dead-letters")
            assert (answer.status_code, answer.json()["dead_letters"]) == (200, [])


async def test_a_plain_text_client_is_refused(secure: Stack) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{secure.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await CatalogServiceStub(channel).ListModels(
                ListModelsRequest(), metadata=secure.metadata, timeout=CALL_SECONDS
            )
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_python_client_remembers_and_streams(secure: Stack, kind: str) -> None:
    async with driving(kind, secure.url, secure.key, ca_file=secure.authority) as client:
        await client.call("remember", "secret", 42)
        assert (await client.call("recall", "secret")).value == 42
        pieces, answer = await client.stream("stream_chat", "hello", model=MODEL)
        assert "".join(pieces) == answer.text
        assert (await client.call("create_response", "hello", model=MODEL)).state == "completed"
    async with driving(kind, secure.url, secure.key, max_retries=0) as distrustful:
        with pytest.raises(somamesh.UnavailableError):
            await distrustful.call("list_models")


async def test_a_client_that_disconnects_ends_the_request_to_the_model_server(
    secure: Stack, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=("a",) * 200, pause=0.05)
    async with AsyncClient(secure.url, secure.key, ca_file=secure.authority) as soma:
        async with soma.stream_chat("hello", model=MODEL) as answer:
            assert await anext(answer)

        async def left() -> bool:
            return upstream.left > 0

        await until(left)


async def test_openais_client_streams(secure: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(deltas=("Hel", "lo."))
    async with secure.openai() as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hello"}], stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "Hello."


async def test_a_log_is_followed_over_a_websocket_and_as_server_sent_events(secure: Stack) -> None:
    async with secure.http() as http:
        created = await http.post("/api/v1/chat/sessions", json={"model_name": MODEL})
        session = created.json()["id"]
        address = f"wss://127.0.0.1:{secure.port}/ws/logs?token={secure.key}&task_id={session}"
        trusting = ssl.create_default_context(cafile=secure.authority)
        async with asyncio.timeout(CALL_SECONDS), connect(address, ssl=trusting, ping_interval=None) as socket:
            said = await http.post(f"/api/v1/chat/sessions/{session}/messages", json={"message": "hello"})
            assert said.status_code == 200
            told: list[str] = []
            while told[-1:] != ["turn finished"]:
                message = json.loads(await socket.recv())
                if message["type"] == "log_entry":
                    told.append(message["data"]["message"])
        async with asyncio.timeout(CALL_SECONDS), http.stream("GET", f"/api/v1/logs/stream/{session}") as stream:
            assert stream.headers["content-type"] == "text/event-stream"
            followed = events(stream)
            assert "started" in json.loads(await anext(followed))
            followed_entries = [json.loads(await anext(followed))["entry"]["message"] for _ in told]
    assert followed_entries == told == ["session created", "turn started", "turn finished"]
