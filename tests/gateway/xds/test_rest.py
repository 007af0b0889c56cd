"""REST through a real Envoy: transcoding, streams, and the shape of errors."""

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from gateway import reference
from gateway.pages import PATHS
from tests.gateway.backends import Echo, edge, serving
from tests.gateway.conftest import ECHO, Gateway

PATH = "/v1/testing/echo"


def error_of(reply: httpx.Response) -> dict[str, Any]:
    """The error of a reply; checks that it has the shape of REST."""
    assert reply.headers["content-type"].startswith("application/json"), reply.text
    body = reply.json()
    assert set(body) == {"error"}, body
    error: dict[str, Any] = body["error"]
    assert set(error) == {"code", "status", "message", "details"}, body
    assert error["code"] == reply.status_code
    return error


async def test_a_unary_call_is_transcoded_with_proto_field_names_and_defaults(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        reply = await envoy.http.post(PATH, json={"text": "hello"})
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert body["text"] == "hello"
    assert body["padding"] == ""
    assert body["observation"]["subject"] == ""
    assert not [name for name in reply.headers if name.startswith("grpc-")]


async def test_each_message_of_a_stream_is_an_event_as_soon_as_it_is_sent(envoy: Gateway) -> None:
    servicer = Echo()
    async with serving(servicer) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        request = {"text": "wait", "script": {"count": 2}}
        async with envoy.http.stream("POST", f"{PATH}:stream", json=request) as reply:
            assert reply.headers["content-type"] == "text/event-stream"
            # No proxy in front may hold events back, and no cache may store them.
            assert (reply.headers["x-accel-buffering"], reply.headers["cache-control"]) == ("no", "no-cache")
            chunks = reply.aiter_text()
            first = await anext(chunks)
            # The backend sends the second event only after this, so the first was not held back.
            servicer.release.set()
            rest = "".join([chunk async for chunk in chunks])
    assert json.loads(first.removeprefix("data: "))["sequence"] == 0
    assert first.endswith("\n\n")
    assert json.loads(rest.removeprefix("data: "))["sequence"] == 1


@pytest.mark.parametrize(
    ("code", "http", "name"),
    [
        (3, 400, "INVALID_ARGUMENT"),
        (5, 404, "NOT_FOUND"),
        (6, 409, "ALREADY_EXISTS"),
        (7, 403, "PERMISSION_DENIED"),
        (8, 429, "RESOURCE_EXHAUSTED"),
        (13, 500, "INTERNAL"),
        (14, 503, "UNAVAILABLE"),
        (16, 401, "UNAUTHENTICATED"),
    ],
)
async def test_the_error_of_a_service_has_its_http_status_and_details(
    envoy: Gateway, code: int, http: int, name: str
) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        script = {"fail_code": code, "fail_message": 'no "such" thing: ä'}
        for path in (PATH, f"{PATH}:stream"):
            reply = await envoy.http.post(path, json={"text": "x", "script": script})
            assert reply.status_code == http
            error = error_of(reply)
            assert error["status"] == name
            assert error["message"] == 'no "such" thing: ä'
            assert [(each["reason"], each["domain"]) for each in error["details"]] == [("SCRIPTED", "soma")]
            assert not [header for header in reply.headers if header.startswith("grpc-")]


async def test_a_query_parameter_the_contract_does_not_have_is_refused_by_name(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        reply = await envoy.http.post(PATH, params={"txet": "x"}, json={"text": "x"})
    assert reply.status_code == 400
    error = error_of(reply)
    assert error["status"] == "INVALID_ARGUMENT"
    assert "txet" in str(error["message"])


@pytest.mark.parametrize("body", ['{"text": ', '{"text": {"a": 1}}', "[]"])
async def test_a_body_that_does_not_fit_is_refused(envoy: Gateway, body: str) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        reply = await envoy.http.post(PATH, content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert error_of(reply)["status"] == "INVALID_ARGUMENT"


async def test_a_body_over_the_limit_is_refused_and_one_under_it_passes(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        under = await envoy.http.post(PATH, json={"text": "x" * 3_900_000})
        over = await envoy.http.post(PATH, json={"text": "x" * 4_300_000})
    assert under.status_code == 200, under.text[:200]
    assert over.status_code == 413
    assert error_of(over)["status"] == "RESOURCE_EXHAUSTED"


async def test_requests_on_the_edges_paths_reach_the_edge_with_bodies_of_any_size(envoy: Gateway) -> None:
    async with edge("/v1/models", "/v1/chat/completions") as front:
        await envoy.publish(http={"edge": (front,)})
        known = await envoy.http.get("/v1/models?limit=3")
        unknown = await envoy.http.get("/v1/models/nothing")
        large = await envoy.http.post("/v1/chat/completions", content=b"x" * 5_000_000)
    assert known.json()["path"] == "/v1/models"
    assert unknown.status_code == 404
    assert unknown.json() == {"error": {"message": "no such path", "type": "not_found"}}
    assert large.json()["bytes"] == 5_000_000


@pytest.mark.parametrize("path", ["/", "/v2/nothing", "/v1/testing", f"{PATH}/more", f"{PATH}:unknown"])
@pytest.mark.parametrize("verb", ["GET", "POST", "PATCH"])
async def test_a_path_without_a_binding_is_not_found(envoy: Gateway, verb: str, path: str) -> None:
    reply = await envoy.http.request(verb, path)
    assert reply.status_code == 404
    error = error_of(reply)
    assert (error["status"], error["details"][0]["reason"]) == ("NOT_FOUND", "NO_SUCH_PATH")


@pytest.mark.parametrize("path", [PATH, f"{PATH}:stream"])
@pytest.mark.parametrize("verb", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_a_path_with_another_method_lists_the_allowed_methods(envoy: Gateway, verb: str, path: str) -> None:
    reply = await envoy.http.request(verb, path)
    assert reply.status_code == 405
    assert reply.headers["allow"] == "POST"
    error = error_of(reply)
    assert (error["status"], error["details"][0]["reason"]) == ("UNIMPLEMENTED", "METHOD_NOT_ALLOWED")
    assert error["message"] == f"{path} takes POST"


@pytest.mark.parametrize("path", [*PATHS, *reference.PAGES, *(f"{page}/page.js" for page in reference.PAGES)])
async def test_the_gateways_own_pages_come_from_the_control_process(envoy: Gateway, path: str) -> None:
    async with edge(path) as control:
        await envoy.publish(control_http=(control,))
        reply = await envoy.http.get(path)
    assert reply.json()["path"] == path


async def test_an_invalid_http_request_is_refused_with_a_request_id(envoy: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", envoy.port)
    writer.write(b"GE T /v1/testing/echo HTTP/1.1\r\nhost: a\r\n\r\n")
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    assert head.startswith("HTTP/1.1 400 ")
    assert re.search(r"\r\nx-request-id: [0-9a-f-]{36}\r\n", head)
    assert json.loads(body)["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("path", [f"{PATH}/", f"{PATH}//", "/v1/testing/notes/", "/v1/testing/notes/a/"])
async def test_a_path_with_a_slash_at_its_end_is_a_different_path_and_does_not_avoid_the_checks(
    envoy: Gateway, path: str
) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,), "soma.testing.v1.NoteService": (backend,)})
        for verb in ("GET", "POST", "PATCH"):
            reply = await envoy.http.request(verb, path, content=b'{"text": "a", "nothing": 1}')
            assert (reply.status_code, error_of(reply)["details"][0]["reason"]) == (404, "NO_SUCH_PATH")


@pytest.mark.parametrize("content_type", ["application/json", "application/proto", "text/plain", ""])
async def test_the_path_of_an_rpc_accepts_grpc_only_and_the_error_says_so(envoy: Gateway, content_type: str) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        headers = {"content-type": content_type} if content_type else {}
        reply = await envoy.http.post(f"/{ECHO}/Echo", content=b"{}", headers=headers)
    assert reply.status_code == 415
    assert error_of(reply)["details"][0]["reason"] == "UNSUPPORTED_MEDIA_TYPE"
