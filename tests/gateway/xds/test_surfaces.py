"""Surfaces in Envoy: the routes of their paths, WebSockets and streams, and the shape of Envoy's own answers."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from soma.mesh.v1 import surface_pb2 as pb
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.surfaces import MAX_SURFACES
from gateway.xds.claims import Claim, claims
from gateway.xds.snapshot import Endpoint, Limits
from services.mesh.surfaces.application import BySurface
from services.mesh.surfaces.surface import MOST_CHARACTERS, require_valid
from services.mesh.testing.surface import surface
from services.mesh.transport.http import HttpServer
from tests.gateway.backends import edge
from tests.gateway.conftest import Gateway
from tests.gateway.surfaces import EDGE
from tests.gateway.xds.test_openai_paths import openai_error
from tests.gateway.xds.test_rest import error_of

SURFACE = surface()
TESTING = SURFACE.announced("testing")
NOTES = pb.Surface(
    service="notes",
    name="notes",
    paths=["/v1/notes", "/v1/notes/count"],
    spaces=[pb.SurfaceSpace(prefixes=["/v1/notes"], message="nothing", reason="NO_SUCH_PATH")],
    errors=pb.SurfaceErrors(statuses={503: 529}, headers={"request-id": "{request_id}"}),
    max_body_bytes=1000,
)
NOTES.errors.body.update({"type": "error", "error": {"message": "{message}", "number": "{kind}"}})
NOTES.errors.kinds[529].number_value = -529
ALL = (*EDGE, TESTING, NOTES)


@asynccontextmanager
async def served() -> AsyncIterator[Endpoint]:
    """The surface for tests, on the HTTP server of a process."""
    server = HttpServer(BySurface([SURFACE]), websockets=True)
    yield Endpoint("127.0.0.1", await server.start("127.0.0.1"))
    await server.stop()


@pytest.fixture
async def gateway(envoy: Gateway) -> AsyncIterator[Gateway]:
    """A gateway with four surfaces of three services; only one service has an instance."""
    async with served() as here:
        await envoy.publish(surfaces=ALL, http={"testing": (here,)})
        yield envoy


async def test_each_path_of_a_surface_leads_to_its_service_with_any_method(gateway: Gateway) -> None:
    said = [await gateway.http.request(verb, "/testing/say/a/b?c=d") for verb in ("GET", "POST")]
    assert [reply.text for reply in said] == ["GET a/b", "POST a/b"]
    failed = await gateway.http.get("/testing/fail")
    oops = {"why": "as you asked", "reason": "INVALID_VALUE", "number": 400, "kind": "yours"}
    assert (failed.status_code, failed.json()) == (400, {"oops": oops})
    assert failed.headers["x-testing-error"] == "invalid_value"


async def test_a_websocket_leads_to_its_service(gateway: Gateway) -> None:
    async with connect(f"ws://127.0.0.1:{gateway.port}/testing/echo?x=y") as connection:
        await connection.send("over the wire")
        assert await connection.recv() == "over the wire"


@pytest.mark.parametrize("path", ["/testing/say/a", "/testing/nothing", "/nothing", "/v1/models", "/ws/nothing"])
async def test_a_websocket_of_no_surface_is_not_found(gateway: Gateway, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{gateway.port}{path}")
    assert refused.value.response.status_code == 404


async def test_only_the_path_of_a_stream_accepts_a_token_in_the_query(gateway: Gateway) -> None:
    assert (await gateway.http.get("/testing/seen?token=secret")).text == "data: Bearer secret\n\n"
    assert (await gateway.http.post("/testing/seen?token=secret")).status_code == 405
    said = await gateway.http.get("/testing/say/a?token=secret")
    assert said.status_code == 200
    assert "referrer-policy" not in said.headers


async def test_an_unknown_path_in_a_space_has_the_message_and_shape_of_its_surface(gateway: Gateway) -> None:
    for path in ("/testing", "/testing/", "/testing/failed", "/testing/seen/more?secret=1"):
        reply = await gateway.http.get(path)
        assert reply.status_code == 404
        why = f"{path.partition('?')[0]} is 100% unknown"
        assert reply.json() == {"oops": {"why": why, "reason": "NO_SUCH_PATH", "number": 404, "kind": "yours"}}
        assert reply.headers["x-testing-error"] == "no_such_path"
    for path in ("/testingx", "/test"):
        assert error_of(await gateway.http.get(path))["status"] == "NOT_FOUND"


async def test_the_error_of_an_unavailable_service_has_the_shape_of_the_surface(gateway: Gateway) -> None:
    await gateway.publish(http={})
    reply = await gateway.http.get("/testing/say/a")
    oops = {"why": "testing has no live instance", "reason": "NO_LIVE_INSTANCE", "number": 503, "kind": "ours"}
    assert (reply.status_code, reply.json()) == (503, {"oops": oops})
    assert reply.headers["x-testing-error"] == "no_live_instance"
    notes = await gateway.http.post("/v1/notes", headers={"x-request-id": "mine-1"})
    error = {"message": "notes has no live instance", "number": -529}
    assert (notes.status_code, notes.json()) == (529, {"type": "error", "error": error})
    assert notes.headers["request-id"] == "mine-1"
    openai = await gateway.http.get("/v1/models")
    assert (openai.status_code, openai_error(openai)["code"]) == (503, "no_live_instance")
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{gateway.port}/testing/echo")
    assert refused.value.response.status_code == 503


async def test_a_surface_within_the_space_of_another_has_its_own_message_there(gateway: Gateway) -> None:
    under = await gateway.http.post("/v1/notes/nothing")
    assert (under.status_code, under.json()["error"]["message"]) == (404, "nothing")
    beside = await gateway.http.post("/v1/notesx")
    assert openai_error(beside)["message"] == "Invalid URL (POST /v1/notesx)"


async def test_a_body_over_the_surfaces_limit_is_refused_in_its_shape(gateway: Gateway) -> None:
    async with edge("/v1/notes") as notes:
        await gateway.publish(http={"notes": (notes,)})
        small = await gateway.http.post("/v1/notes", content=b"x" * 1000)
        large = await gateway.http.post("/v1/notes", content=b"x" * 1001)
        chunked = await gateway.http.post("/v1/notes", content=_chunks(b"x" * 700, 2))
    assert small.json()["bytes"] == 1000
    assert [(reply.status_code, reply.json()["type"]) for reply in (large, chunked)] == [(413, "error")] * 2


async def _chunks(chunk: bytes, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield chunk


async def test_a_request_that_arrives_too_slowly_is_refused_in_the_surfaces_shape(gateway: Gateway) -> None:
    await gateway.publish(limits=Limits(request_timeout_seconds=0.3))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /testing/say/a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n")
    async with asyncio.timeout(10):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert int(head.split()[1]) == 408
    assert httpx.Response(408, content=body).json()["oops"]["reason"] == "REQUEST_TIMEOUT"


async def test_other_surfaces_are_served_while_one_is_added_or_removed(gateway: Gateway) -> None:
    async with edge("/v1/models") as openai:
        await gateway.publish(http={"edge": (openai,)})
        for surfaces in (EDGE, ALL, EDGE):
            await gateway.publish(surfaces=surfaces)
            assert (await gateway.http.get("/v1/models")).status_code == 200
            expected = 503 if TESTING in surfaces else 404
            assert (await gateway.http.get("/testing/say/a")).status_code == expected


async def test_a_grpc_call_on_a_surfaces_path_does_not_reach_the_surface(gateway: Gateway) -> None:
    reply = await gateway.http.post("/testing/say/a", headers={"content-type": "application/grpc"}, content=b"")
    assert reply.headers["grpc-status"] == "12"


async def test_envoy_accepts_the_maximum_number_of_surfaces_at_their_maximum_size(gateway: Gateway) -> None:
    def large(number: int) -> pb.Surface:
        space = pb.SurfaceSpace(prefixes=["/large" + "/x" * number], message="m" * 1000, reason="NO_SUCH_PATH")
        room = MOST_CHARACTERS - 9 * 16 - len(space.prefixes[0])
        paths = [f"/large/{number:03}/{path}/" + "y" * (room // 9) for path in range(9)]
        return pb.Surface(service=f"s{number}", name="large", paths=paths, spaces=[space])

    surfaces = [large(number) for number in range(MAX_SURFACES)]
    for each in surfaces:
        require_valid(each)
    await gateway.publish(surfaces=tuple(surfaces))
    assert not gateway.xds.state().fallen_back
    reply = await gateway.http.get(surfaces[-1].paths[-1])
    assert (reply.status_code, error_of(reply)["message"]) == (503, f"s{MAX_SURFACES - 1} has no live instance")
    assert error_of(await gateway.http.get("/large/x/x/nothing"))["message"] == "m" * 1000


CLAIMS = claims(ALL, ["/v1/chat/sessions/{id}", "/v1/remember", "/testing/notes/{name}"])


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/v1/models", ["openai"]),
        ("/v1/models/a/b?c=d", ["openai"]),
        ("/v1/chat/completions", ["openai"]),
        ("/v1/chat/sessions/a/b", []),
        ("/v1/remember/x", []),
        ("/v1/notes", ["notes"]),
        ("/v1/notes/x?y", ["notes"]),
        ("/v1/notesx", ["openai"]),
        ("/testing/say/a", ["testing"]),
        ("/testing/notes", []),
        ("/testing/notes/a", []),
        ("/ws/logs?token=a", ["logs"]),
        ("/ws", ["logs"]),
        ("/wsx", []),
        ("/", []),
    ],
)
def test_a_path_belongs_to_one_surface_at_most(path: str, names: list[str]) -> None:
    assert [claim.surface.name for claim in CLAIMS if claimed(claim, path)] == names


def claimed(claim: Claim, path: str) -> bool:
    """Whether a path belongs to the surface of a claim."""
    inside: Any = any(re.fullmatch(space, path) for space in claim.spaces) and not re.fullmatch(claim.others, path)
    return bool(re.fullmatch(claim.own, path) or inside)
