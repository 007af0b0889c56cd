"""Spans arrive at a collector, however its address is given."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.trace import SpanKind

from services.mesh.call.spans import Spans
from services.mesh.call.trace import Trace


@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
async def test_spans_go_to_the_path_of_traces_whether_the_address_has_it_or_not(path: str) -> None:
    asked: list[str] = []

    async def take(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.Response()

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    async with TestServer(app) as collector:
        spans = Spans("test", str(collector.make_url(path)).rstrip("/"))
        spans.start("call", Trace(1, 2, True), SpanKind.SERVER, {}).end()
        # The provider sends the remaining spans from a thread, and waits for it.
        await asyncio.to_thread(spans.close)
    assert asked == ["/v1/traces"]
