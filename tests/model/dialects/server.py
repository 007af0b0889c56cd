"""A real HTTP server with one vendor's dialect; it records the faults of requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.model.dialects.documented import Documented, Refusal
from tests.model.dialects.vendors import as_bytes, headers_now


@dataclass
class DialectServer:
    """One vendor's server.

    Attributes:
        says: the body of the next answers to chat requests.
        refusal: if set, the answer to every request.
        wrong: the faults of requests, according to the documentation.
        bodies: the bodies of requests.
    """

    documented: Documented
    says: bytes = b""
    refusal: Refusal | None = None
    url: str = ""
    wrong: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer any request."""
        documented, path = self.documented, request.path.removeprefix(self.documented.base)
        self._check_headers(request)
        if self.refusal is not None:
            headers = headers_now(self.refusal.headers)
            return web.Response(status=self.refusal.status, body=as_bytes(self.refusal.body), headers=headers)
        match request.method, path:
            case "GET", documented.models if path:
                self._check_query(request, documented.models_query)
                return web.json_response(documented.listed())
            case "POST", documented.chat:
                self._check_query(request, documented.query)
                body = await self._body(request)
                self.wrong += documented.wrong_with(body)
                kind = "application/json" if self.says[:1] == b"{" else "text/event-stream"
                return web.Response(body=self.says, content_type=kind)
            case "POST", documented.embeddings if path:
                self._check_query(request, documented.query)
                return self._vectors(await self._body(request))
        self.wrong.append(f"{request.method} {request.path}")
        return web.Response(status=404)

    def _vectors(self, body: dict[str, Any]) -> web.Response:
        self.wrong += [
            f"{name} is missing" for name, value in self.documented.embeds.items() if body.get(name) != value
        ]
        data = [{"index": at, "embedding": [float(len(each)), 1.0]} for at, each in enumerate(body["input"])]
        return web.json_response({"data": data, "usage": {"prompt_tokens": 2, "total_tokens": 2}})

    async def _body(self, request: web.Request) -> dict[str, Any]:
        body = orjson.loads(await request.read())
        self.bodies.append(body)
        return dict(body)

    def _check_headers(self, request: web.Request) -> None:
        name, value = self.documented.key
        wanted = {**self.documented.headers, **({name: value} if name else {})}
        self.wrong += [
            f"{name}: {request.headers.get(name)}" for name in wanted if request.headers.get(name) != wanted[name]
        ]
        if not name and "authorization" in request.headers:
            self.wrong.append("a key that nobody set")

    def _check_query(self, request: web.Request, wanted: Any) -> None:
        if dict(request.query) != dict(wanted):
            self.wrong.append(f"the query is {dict(request.query)}, not {dict(wanted)}")


@asynccontextmanager
async def speaking(documented: Documented) -> AsyncIterator[DialectServer]:
    """Run the server on a free port."""
    server, app = DialectServer(documented), web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    async with TestServer(app) as running:
        server.url = str(running.make_url("")).rstrip("/") + documented.base
        yield server
