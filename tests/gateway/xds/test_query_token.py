"""`?token=` becomes a header where an EventSource may open a stream, and is in no log and no error."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.rpc import error_details_pb2

from gateway.xds.snapshot import Endpoint
from services.mesh.testing.waiting import until
from tests.clients.browser import CHROMIUM, chromium
from tests.clients.toolchains import require
from tests.gateway.backends import edge
from tests.gateway.conftest import Gateway, descriptor_set
from tests.gateway.xds.test_rest import error_of

SERVICE = "soma.lab.v1.TailService"
TAIL = "/v1/lab/tail/a"
SECRET = "soma_dev_secret-1"


def tail_descriptors() -> bytes:
    """Descriptors of a service with a stream by GET and by POST, and with a unary GET; answers have a field `seen`."""
    file = FileDescriptorProto(name="soma/lab/v1/tail.proto", package="soma.lab.v1", syntax="proto3")
    imported = [annotations_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR]
    file.dependency.append(imported[0].name)
    for message in ("Asked", "Told"):
        made = file.message_type.add(name=message)
        for number, name in enumerate(("id", "level", "seen"), start=1):
            made.field.add(name=name, number=number, type=Field.TYPE_STRING, label=1)
    service = file.service.add(name="TailService")
    types = {"input_type": ".soma.lab.v1.Asked", "output_type": ".soma.lab.v1.Told"}
    tail = service.method.add(name="Tail", server_streaming=True, **types)
    rule = tail.options.Extensions[annotations_pb2.http]
    rule.get = "/v1/lab/tail/{id}"
    rule.additional_bindings.add(post="/v1/lab/tail", body="*")
    service.method.add(name="Get", **types).options.Extensions[annotations_pb2.http].get = "/v1/lab/get/{id}"
    described = FileDescriptorSet.FromString(descriptor_set(*imported))
    described.file.append(file)
    return described.SerializeToString()


@contextlib.asynccontextmanager
async def showing_backend() -> AsyncIterator[Endpoint]:
    """A backend whose answers have, in `seen`, the credentials that it got."""

    def shown(context: Any) -> bytes:
        sent = dict(context.invocation_metadata())
        assert not [value for value in sent.values() if "token=" in value], sent
        text = f"{sent.get('authorization', '')}|{sent.get('x-api-key', '')}".encode()
        return b"\x1a" + bytes([len(text)]) + text

    async def tail(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield shown(context)

    async def get(request: bytes, context: Any) -> bytes:
        return shown(context)

    server = grpc.aio.server()
    handlers: Any = {
        "Tail": grpc.unary_stream_rpc_method_handler(tail),
        "Get": grpc.unary_unary_rpc_method_handler(get),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Endpoint("127.0.0.1", port)
    await server.stop(grace=None)


@pytest.fixture
async def gateway(envoy: Gateway) -> AsyncIterator[Gateway]:
    """A gateway with this backend, and with an edge that answers with the request."""
    async with showing_backend() as backend, edge("/v1/responses/a", "/docs") as http:
        await envoy.publish(
            services={SERVICE: (backend,)},
            descriptor_set=tail_descriptors(),
            http={"edge": (http,)},
            control_http=(http,),
        )
        yield envoy


SENT: tuple[tuple[str, dict[str, str], str], ...] = (
    (f"?token={SECRET}", {}, f"Bearer {SECRET}|"),
    (f"?level=x&token={SECRET}", {}, f"Bearer {SECRET}|"),
    (f"?token={SECRET}&level=x", {}, f"Bearer {SECRET}|"),
    (f"?token=first&token={SECRET}", {}, f"Bearer {SECRET}|"),
    ("?%74oken=a%2Db", {}, "Bearer a-b|"),
    (f"?token={SECRET}", {"authorization": "Bearer mine"}, "Bearer mine|"),
    (f"?token={SECRET}", {"x-api-key": "mine"}, "|mine"),
    ("?token=", {}, "|"),
    ("?token", {}, "|"),
    ("", {}, "|"),
    # Characters that a header must not have make the token invalid; they never make another header.
    ("?token=a%0d%0ax-api-key:%20b", {}, "Bearer ?|"),
    ("?token=a%20b", {}, "Bearer ?|"),
    ("?token=%C3%A4%00", {}, "Bearer ?|"),
)


async def test_a_get_stream_accepts_a_token_in_the_query_if_no_header_was_sent(gateway: Gateway) -> None:
    for query, headers, seen in SENT:
        reply = await gateway.http.get(f"{TAIL}{query}", headers=headers)
        assert reply.status_code == 200, (query, reply.text)
        assert f'"seen":"{seen}"' in reply.text, (query, reply.text)
        assert reply.headers["referrer-policy"] == "no-referrer"


async def test_the_edges_get_stream_accepts_a_token_in_the_query_too(gateway: Gateway) -> None:
    reply = await gateway.http.get(f"/v1/responses/a?stream=true&token={SECRET}&starting_after=1")
    assert reply.json()["headers"]["authorization"] == f"Bearer {SECRET}"
    assert "token" not in str(reply.json()["path"])
    assert reply.headers["referrer-policy"] == "no-referrer"


async def test_other_requests_do_not_accept_a_token_in_the_query(gateway: Gateway) -> None:
    for verb, path in (("POST", "/v1/lab/tail"), ("GET", "/v1/lab/get/a")):
        reply = await gateway.http.request(verb, f"{path}?token={SECRET}")
        assert reply.status_code == 400, reply.text
        assert '"token"' in str(error_of(reply)["message"])
        assert SECRET not in reply.text
    for path in ("/v1/responses/a", "/v1/responses/a?stream=false"):
        reply = await gateway.http.get(f"{path}{'&' if '?' in path else '?'}token={SECRET}")
        assert "authorization" not in reply.json()["headers"]


async def test_a_token_in_the_query_is_in_no_log_and_no_error(gateway: Gateway) -> None:
    replies = [await gateway.http.get(f"{path}?token={SECRET}") for path in (TAIL, f"{TAIL}/x", "/v1/lab/get/a")]
    replies.append(await gateway.http.get(f"{TAIL}?token={SECRET}&unknown=1"))
    await gateway.publish(services={SERVICE: ()})
    replies.append(await gateway.http.get(f"{TAIL}?token={SECRET}"))
    assert [reply.status_code for reply in replies] == [200, 404, 400, 400, 503]
    assert not [reply for reply in replies[1:] if SECRET in reply.text or SECRET in str(reply.headers)]
    await until(lambda: gateway.access_log.read_text().count("\n") == len(replies))
    logs = gateway.access_log.read_text() + (gateway.directory / "envoy.log").read_text()
    assert f'"{TAIL}"' in logs
    assert SECRET not in logs


async def test_an_event_source_of_a_browser_is_authenticated(gateway: Gateway, tmp_path: Path) -> None:
    require(CHROMIUM)
    profile = tmp_path / "profile"
    profile.mkdir()
    async with chromium(profile) as page:
        await page.open(f"http://127.0.0.1:{gateway.port}/docs")
        await page.evaluate(
            f"source = new EventSource('{TAIL}?token={SECRET}'); told = null;"
            "source.onmessage = event => { told = JSON.parse(event.data).seen; source.close(); }; 0"
        )
        await until(lambda: page.evaluate("told"))
        assert await page.evaluate("told") == f"Bearer {SECRET}|"
