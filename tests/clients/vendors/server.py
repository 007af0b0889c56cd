"""The HTTP server of a scripted vendor, which refuses what the real one refuses."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.clients.vendors.script import SCRIPT, Said


class Dialect(Protocol):
    """The protocol of a vendor."""

    @property
    def model(self) -> str:
        """The name of its model."""
        ...

    @property
    def chat(self) -> str:
        """The path of the method that answers."""
        ...

    @property
    def models(self) -> str:
        """The path of the list of models."""
        ...

    def listing(self) -> Any:
        """The list of models."""
        ...

    def refusal(self, body: Mapping[str, Any]) -> str:
        """Why the vendor refuses the body of a request; empty if it does not."""
        ...

    def error(self, message: str) -> Any:
        """The body of a refusal with status 400."""
        ...

    def question(self, body: Mapping[str, Any]) -> tuple[str, int]:
        """The last question of the user, and how many answers to it the model has given already."""
        ...

    def frames(self, question: str, place: int, said: Said) -> Sequence[bytes]:
        """The events of an answer."""
        ...

    def whole(self, question: str, place: int, said: Said) -> Mapping[str, Any]:
        """The same answer in one document."""
        ...

    def history(self, questions: Sequence[tuple[str, int]]) -> Sequence[Mapping[str, Any]]:
        """The messages that must come with a request: questions, each with the number of its answers so far.

        Each answer with calls is followed by their results.
        """
        ...


@dataclass
class VendorServer:
    """A vendor on a free port.

    Attributes:
        bodies: the bodies of the requests for answers.
        refused: why requests were refused.
    """

    dialect: Dialect
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        dialect = self.dialect
        if request.method == "GET" and request.path == dialect.models:
            return web.json_response(dialect.listing())
        if request.method != "POST" or request.path != dialect.chat:
            return web.Response(status=404)
        body = await request.json()
        self.bodies.append(body)
        if why := dialect.refusal(body):
            self.refused.append(why)
            return web.json_response(dialect.error(why), status=400)
        question, place = dialect.question(body)
        said = SCRIPT[question][place]
        if not body.get("stream"):
            return web.Response(
                body=orjson.dumps(dialect.whole(question, place, said)), content_type="application/json"
            )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for frame in dialect.frames(question, place, said):
            await response.write(frame)
        await response.write_eof()
        return response


@asynccontextmanager
async def serving(dialect: Dialect) -> AsyncIterator[VendorServer]:
    """Run the vendor."""
    server = VendorServer(dialect)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", server.answer)
    async with TestServer(app) as running:
        server.url = str(running.make_url("")).rstrip("/")
        yield server
