"""A real HTTP server that stands in for the model server of a vendor, with its protocol, its errors and faults."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from aiohttp import web

from services.model.testing.dialects import Behaviour, Dialect, Fault, OpenAIDialect


@dataclass
class FakeUpstream:
    """A model server on a free port of 127.0.0.1, as an async context manager.

    Attributes:
        behaviour: how it answers; a test may replace it between requests.
        script: how it answers the next requests, one after the other, before `behaviour` counts.
        check: why the vendor would refuse the body of a request; empty if it would not.
        models: names of the models that it lists.
        listing: the body of the list; if None, it is made from `models`.
        counts: the tokens that Anthropic's method for counting gives; 0 if there is no such method.
        requests: bodies of all requests so far.
        headers: headers of the latest request for an answer.
        open: number of requests in progress.
        left: number of requests whose client disconnected before the end.
        url: base URL, without a path.
        changed: notified when `open` or `left` changes.
    """

    dialect: Dialect = field(default_factory=OpenAIDialect)
    behaviour: Behaviour = field(default_factory=Behaviour)
    script: list[Behaviour] = field(default_factory=list)
    check: Callable[[dict[str, Any]], str] = lambda body: ""
    models: Sequence[str] = ("fake-large", "fake-small")
    listing: Any = None
    counts: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    open: int = 0
    left: int = 0
    url: str = ""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _runner: web.AppRunner | None = None

    @property
    def connections(self) -> int:
        """Number of open connections of clients."""
        server = self._runner.server if self._runner is not None else None
        return len(server.connections) if server is not None else 0

    async def __aenter__(self) -> Self:
        await self.start(0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def start(self, port: int) -> None:
        """Listen on `port`; 0 chooses a free one."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post(self.dialect.path, self._generate)
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/v1/embeddings", self._embed)
        app.router.add_post("/v1/messages/count_tokens", self._count_tokens)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        host, bound = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{bound}"

    async def until(self, **expected: int) -> None:
        """Wait until attributes such as `open` or `left` have the given values."""
        async with self.changed:
            await self.changed.wait_for(lambda: all(getattr(self, name) == value for name, value in expected.items()))

    async def _count(self, *, open: int = 0, left: int = 0) -> None:
        async with self.changed:
            self.open += open
            self.left += left
            self.changed.notify_all()

    async def _list(self, request: web.Request) -> web.Response:
        if (status := self.dialect.errors.get(self.behaviour.fault)) is not None:
            return self._refusal(*status)
        if self.behaviour.fault is Fault.HANG:
            await asyncio.Event().wait()
        listing = self.dialect.listing(self.models) if self.listing is None else self.listing
        return web.json_response(listing)

    async def _embed(self, request: web.Request) -> web.Response:
        """A vector for each text: its length and its index. It is the same for all dialects."""
        body = await request.json()
        self.requests.append(body)
        await self._count(open=1)
        try:
            return await self._vectors(body)
        finally:
            await self._count(open=-1)

    async def _count_tokens(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        self.headers = dict(request.headers)
        if not self.counts:
            return web.json_response(self.dialect.error("not_found_error", "Not found"), status=404)
        if (status := self.dialect.errors.get(self.behaviour.fault)) is not None:
            return self._refusal(*status)
        if "max_tokens" in body or "stream" in body:
            refused = self.dialect.error("invalid_request_error", "max_tokens: Extra inputs are not permitted")
            return web.json_response(refused, status=400)
        return web.json_response({"input_tokens": self.counts})

    async def _vectors(self, body: dict[str, Any]) -> web.Response:
        if (status := self.dialect.errors.get(self.behaviour.fault)) is not None:
            return self._refusal(*status)
        if self.behaviour.fault is Fault.HANG:
            await asyncio.Event().wait()
        data = [
            {"object": "embedding", "index": place, "embedding": [len(text), place]}
            for place, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 4, "total_tokens": 4} if self.behaviour.usage else None
        return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.headers = dict(request.headers)
        if self.script:
            self.behaviour = self.script.pop(0)
        await self._count(open=1)
        try:
            return await self._answer(request, body)
        except (asyncio.CancelledError, ConnectionError):
            await self._count(left=1)
            raise
        finally:
            await self._count(open=-1)

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        behaviour = self.behaviour
        fault = behaviour.fault
        if why := self.check(body):
            status, kind = self.dialect.errors[Fault.BAD_REQUEST]
            return web.json_response(self.dialect.error(kind, why), status=status)
        if fault in self.dialect.errors:
            return self._refusal(*self.dialect.errors[fault])
        if fault is Fault.NOT_A_STREAM:
            return web.Response(text="<html>sign in to the network</html>", content_type="text/html")
        if fault is Fault.HANG:
            await asyncio.Event().wait()
        if fault in (Fault.RESET, Fault.NOT_HTTP):
            self._break(request, b"" if fault is Fault.RESET else b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        if not body.get("stream") and not behaviour.streams_anyway and not behaviour.sent:
            return await self._answer_whole(request, str(body.get("model")))
        response = web.StreamResponse(status=behaviour.status, headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        frames = list(behaviour.sent) or self.dialect.frames(behaviour, str(body.get("model")))
        if fault is Fault.GARBAGE:
            frames = [b"\xff\xfe\x00 no protocol at all\n\n"]
        if behaviour.flood:
            frames = [b"".join(frames)]
        elif behaviour.chunk:
            whole = b"".join(frames)
            frames = [whole[at : at + behaviour.chunk] for at in range(0, len(whole), behaviour.chunk)]
        elif fault is Fault.TRICKLE:
            whole = b"".join(frames)
            frames = [whole[at : at + 1] for at in range(len(whole))]
        texts_sent = 0
        for number, frame in enumerate(frames):
            if number and behaviour.pause:
                await asyncio.sleep(behaviour.pause)
            await response.write(frame)
            has_text = any(orjson.dumps(text)[1:-1] in frame for text in behaviour.deltas)
            while has_text and behaviour.until is not None and not behaviour.until.is_set():
                await asyncio.sleep(behaviour.pause)
                await response.write(frame)
            texts_sent += has_text
            if texts_sent and fault.name.endswith("_MID"):
                await self._fail(request, response, fault)
                return response
        if fault.name.endswith("_END"):
            await self._fail(request, response, fault)
            return response
        await response.write_eof()
        return response

    async def _answer_whole(self, request: web.Request, model: str) -> web.StreamResponse:
        """The answer in one document; MID faults come after its first half."""
        behaviour, fault = self.behaviour, self.behaviour.fault
        if behaviour.pause:
            await asyncio.sleep(behaviour.pause * len(behaviour.deltas))
        response = web.StreamResponse(status=behaviour.status, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if fault is Fault.ERROR_MID:
            # An answer that was asked for whole has its error in place of it.
            await response.write(orjson.dumps(self.dialect.error("server_error", "engine died")))
        elif fault in (Fault.GARBAGE, Fault.GARBAGE_MID):
            await response.write(b"{broken")
        else:
            document = orjson.dumps(self.dialect.whole(behaviour, model))
            await response.write(document[: len(document) // 2])
            if fault.name.endswith("_MID"):
                await self._fail(request, response, fault)
                return response
            await response.write(document[len(document) // 2 :])
            if fault.name.endswith("_END"):
                await self._fail(request, response, fault)
                return response
        await response.write_eof()
        return response

    async def _fail(self, request: web.Request, response: web.StreamResponse, fault: Fault) -> None:
        if fault in (Fault.HANG_MID, Fault.HANG_END):
            await asyncio.Event().wait()
        elif fault in (Fault.RESET_MID, Fault.RESET_END):
            self._break(request, b"")
        elif fault is Fault.TORN_MID:
            # An HTTP chunk that announces 64 bytes; the connection closes after seven of them.
            self._break(request, b"40\r\ndata: {")
        elif fault is Fault.GARBAGE_MID:
            await response.write(b"data: {broken\n\n")
        elif fault is Fault.ERROR_MID:
            await response.write(self.dialect.error_frame())
        await response.write_eof()

    def _break(self, request: web.Request, last_bytes: bytes) -> None:
        transport = request.transport
        if transport is None:
            return
        if last_bytes:
            transport.write(last_bytes)
            transport.close()
        else:
            transport.abort()

    def _refusal(self, status: int, kind: str) -> web.Response:
        headers = {"Retry-After": self.behaviour.retry_after} if status in (429, 503, 529) else {}
        return web.json_response(self.dialect.error(kind, self.behaviour.message), status=status, headers=headers)
