"""Surfaces: which may be declared, how they are announced, and which application answers a path."""

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from services.mesh.surfaces.application import BySurface
from services.mesh.surfaces.error_shape import ErrorShape
from services.mesh.surfaces.surface import MOST_BODY_BYTES, Space, Surface, prefixes, stream, templates
from services.mesh.transport.http import HttpServer


def naming(name: str) -> ASGIApp:
    """An application that answers everything with its name."""

    async def page(_: Request) -> PlainTextResponse:
        return PlainTextResponse(name)

    async def socket(connection: WebSocket) -> None:
        await connection.accept()
        await connection.send_text(name)
        await connection.close()

    return Starlette(routes=[Route("/{path:path}", page), WebSocketRoute("/{path:path}", socket)])


JOBS = Surface(
    "jobs",
    naming("jobs"),
    paths=("/jobs", "/jobs/{id}", "/jobs/{id}/files/{rest=**}"),
    sockets=("/jobs/{id}/live",),
    streams=("/jobs/{id}?stream=true",),
    spaces=(Space(("/jobs", "/job"), "no {method} on {path}"),),
    errors=ErrorShape({"wrong": "{message}"}),
    max_body_bytes=1000,
)


def test_an_announced_surface_is_as_it_was_declared() -> None:
    announced = JOBS.announced("work")
    assert (announced.service, announced.name, announced.max_body_bytes) == ("work", "jobs", 1000)
    assert [each.text for each in templates(announced)] == [*JOBS.paths, *JOBS.sockets]
    assert list(prefixes(announced)) == ["/jobs", "/job"]
    assert announced.spaces[0].reason == "NO_SUCH_PATH"
    assert dict(announced.errors.body.items()) == {"wrong": "{message}"}


def test_a_stream_is_a_path_with_at_most_one_query_parameter() -> None:
    assert stream("/a/{id}").query is None
    assert stream("/a/{id}?stream=true").query == ("stream", "true")
    for text in ("/a?", "/a?stream", "/a?x=1&y=2", "/a?x=y z", "a"):
        with pytest.raises(ValueError, match=r"query|template"):
            stream(text)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"paths": ()}, "no paths"),
        ({"paths": ("jobs",)}, "no template"),
        ({"sockets": ("/{rest=**}",)}, "no template"),
        ({"streams": ("/jobs/{id}",)}, "not among its paths"),
        ({"spaces": (Space(("/jobs/{id}",)),)}, "without variables"),
        ({"spaces": (Space(("/jobs",), "no {verb}"),)}, "placeholder {verb}"),
        ({"paths": tuple(f"/jobs/{number:0250}" for number in range(8))}, "more than 2000 characters"),
        ({"max_body_bytes": MOST_BODY_BYTES + 1}, "max_body_bytes"),
        ({"max_body_bytes": -1}, "max_body_bytes"),
    ],
)
def test_declaring_a_surface_that_the_gateway_could_not_serve_is_an_error(fields: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        Surface("jobs", naming("jobs"), **({"paths": ("/jobs",)} | fields))


@pytest.mark.parametrize(
    "others",
    [
        (Surface("jobs", naming("b"), paths=("/other",)),),
        (Surface("other", naming("b"), paths=("/jobs/{name=*}",)),),
        (Surface("other", naming("b"), sockets=("/jobs/{id}/live",)),),
    ],
)
def test_two_surfaces_of_a_service_with_the_same_name_or_path_are_refused(others: tuple[Surface, ...]) -> None:
    with pytest.raises(ValueError, match="two surfaces of a service"):
        BySurface((JOBS, *others))


@pytest.mark.parametrize("variable", ["/jobs/{id}/x", "/jobs/a/x"])
async def test_each_path_is_answered_by_the_application_of_its_surface(variable: str) -> None:
    other = Surface("other", naming("other"), paths=("/mcp", variable), sockets=("/mcp",))
    server = HttpServer(BySurface((JOBS, other)), websockets=True)
    port = await server.start("127.0.0.1")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            paths = ("/jobs", "/jobs/a", "/jobs/a/files/b/c", "/mcp", "/jobs/a/x", "/nothing")
            answers = [(await http.get(path)).text for path in paths]
        told = []
        for path in ("/jobs/a/live", "/mcp"):
            async with connect(f"ws://127.0.0.1:{port}{path}") as connection:
                told.append(await connection.recv())
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{port}/jobs")
    finally:
        await server.stop()
    assert answers == ["jobs", "jobs", "jobs", "other", "other", "jobs"]
    assert told == ["jobs", "other"]
    assert refused.value.response.status_code == 404
