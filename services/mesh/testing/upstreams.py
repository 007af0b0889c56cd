"""Other companies' model servers, played by a real HTTP server: their protocols, their errors, their faults."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol, Self

import orjson
from aiohttp import web


class Fault(Enum):
    """What may go wrong with a provider; MID faults come after the first delta."""

    NONE = auto()
    HANG = auto()
    HANG_MID = auto()
    RESET = auto()
    RESET_MID = auto()
    CUT_MID = auto()
    NOT_HTTP = auto()
    GARBAGE = auto()
    GARBAGE_MID = auto()
    NOT_A_STREAM = auto()
    ERROR_MID = auto()
    BAD_REQUEST = auto()
    UNAUTHORIZED = auto()
    UNKNOWN_MODEL = auto()
    RATE_LIMITED = auto()
    OVERLOADED = auto()
    BROKEN = auto()
    TRICKLE = auto()


@dataclass
class Behaviour:
    """How the server answers the next requests.

    Attributes:
        deltas: pieces of text, a frame each.
        tool_calls: (id, name, pieces of the arguments) of each call after the text.
        finish: the vendor's own word for why it ended.
        pause: seconds before each frame but the first.
        chunk: bytes of each write; 0 writes frame by frame.
        flood: write all frames at once.
    """

    deltas: Sequence[str] = ("Hello", " there", "!")
    tool_calls: Sequence[tuple[str, str, Sequence[str]]] = ()
    finish: str = ""
    usage: bool = True
    pause: float = 0.0
    chunk: int = 0
    flood: bool = False
    fault: Fault = Fault.NONE
    retry_after: str = "7"
    message: str = "the fake was told to refuse"


class Dialect(Protocol):
    """A vendor's protocol."""

    @property
    def path(self) -> str: ...

    @property
    def errors(self) -> Mapping[Fault, tuple[int, str]]: ...

    def frames(self, behaviour: Behaviour, model: str) -> list[bytes]:
        """The events of an answer."""
        ...

    def error(self, kind: str, message: str) -> dict[str, Any]:
        """The body of a refusal."""
        ...

    def error_frame(self) -> bytes:
        """An error inside a stream."""
        ...

    def listing(self, models: Sequence[str]) -> dict[str, Any]:
        """The body of `GET /v1/models`."""
        ...


_OPENAI_ERRORS: Mapping[Fault, tuple[int, str]] = {
    Fault.BAD_REQUEST: (400, "invalid_request_error"),
    Fault.UNAUTHORIZED: (401, "invalid_api_key"),
    Fault.UNKNOWN_MODEL: (404, "model_not_found"),
    Fault.RATE_LIMITED: (429, "rate_limit_exceeded"),
    Fault.OVERLOADED: (503, "server_error"),
    Fault.BROKEN: (500, "server_error"),
}


class OpenAIDialect:
    """Chat completions, as OpenAI, vLLM and Ollama's `/v1` stream them."""

    path = "/v1/chat/completions"
    errors = _OPENAI_ERRORS

    def frames(self, behaviour: Behaviour, model: str) -> list[bytes]:
        """Role, text, tool calls, finish, usage, `[DONE]`."""
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas.extend({"content": text} for text in behaviour.deltas)
        for index, (call_id, name, pieces) in enumerate(behaviour.tool_calls):
            opening: dict[str, Any] = {"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
            deltas.append({"tool_calls": [{"index": index, **opening}]})
            deltas.extend({"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces)
        finish = behaviour.finish or ("tool_calls" if behaviour.tool_calls else "stop")
        choices: list[list[dict[str, Any]]] = [
            [{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas
        ]
        choices.append([{"index": 0, "delta": {}, "finish_reason": finish}])
        chunks: list[dict[str, Any]] = [self._chunk(model, choice, None) for choice in choices]
        if behaviour.usage:
            count = len(behaviour.deltas)
            usage = {"prompt_tokens": 11, "completion_tokens": count, "total_tokens": 11 + count}
            chunks.append(self._chunk(model, [], usage))
        return [b"data: %s\n\n" % orjson.dumps(chunk) for chunk in chunks] + [b"data: [DONE]\n\n"]

    def error(self, kind: str, message: str) -> dict[str, Any]:
        """OpenAI's error object."""
        return {"error": {"message": message, "type": kind, "param": None, "code": kind}}

    def error_frame(self) -> bytes:
        """As vLLM sends it."""
        return b'data: {"error": {"message": "engine died", "type": "InternalServerError", "code": 500}}\n\n'

    def listing(self, models: Sequence[str]) -> dict[str, Any]:
        """OpenAI's list object."""
        data = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "fake"} for name in models]
        return {"object": "list", "data": data}

    def _chunk(self, model: str, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> dict[str, Any]:
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": model,
            "choices": choices,
            "usage": usage,
        }


_ANTHROPIC_ERRORS: Mapping[Fault, tuple[int, str]] = {
    Fault.BAD_REQUEST: (400, "invalid_request_error"),
    Fault.UNAUTHORIZED: (401, "authentication_error"),
    Fault.UNKNOWN_MODEL: (404, "not_found_error"),
    Fault.RATE_LIMITED: (429, "rate_limit_error"),
    Fault.OVERLOADED: (529, "overloaded_error"),
    Fault.BROKEN: (500, "api_error"),
}


class AnthropicDialect:
    """The Messages API's stream."""

    path = "/v1/messages"
    errors = _ANTHROPIC_ERRORS

    def frames(self, behaviour: Behaviour, model: str) -> list[bytes]:
        """A text block, a block for each tool call, the stop reason, the end."""
        start = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": []}
        usage = {"input_tokens": 11, "output_tokens": 1} if behaviour.usage else {}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": {**start, "usage": usage}}]
        if behaviour.deltas:
            events += self._block(0, {"type": "text", "text": ""}, "text_delta", "text", behaviour.deltas)
            events.insert(2, {"type": "ping"})
        for index, (call_id, name, pieces) in enumerate(behaviour.tool_calls, start=1):
            block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
            events += self._block(index, block, "input_json_delta", "partial_json", pieces)
        finish = behaviour.finish or ("tool_use" if behaviour.tool_calls else "end_turn")
        written = {"output_tokens": len(behaviour.deltas)} if behaviour.usage else {}
        events.append({"type": "message_delta", "delta": {"stop_reason": finish}, "usage": written})
        events.append({"type": "message_stop"})
        return [b"event: %s\ndata: %s\n\n" % (e["type"].encode(), orjson.dumps(e)) for e in events]

    def error(self, kind: str, message: str) -> dict[str, Any]:
        """Anthropic's error object."""
        return {"type": "error", "error": {"type": kind, "message": message}}

    def error_frame(self) -> bytes:
        """An overload that shows after the answer began."""
        return b"event: error\ndata: %s\n\n" % orjson.dumps(self.error("overloaded_error", "Overloaded"))

    def listing(self, models: Sequence[str]) -> dict[str, Any]:
        """Anthropic's page of models."""
        data = [{"type": "model", "id": name, "created_at": "2025-02-19T00:00:00Z"} for name in models]
        return {"data": data, "has_more": False}

    def _block(
        self, index: int, block: dict[str, Any], kind: str, name: str, pieces: Sequence[str]
    ) -> list[dict[str, Any]]:
        deltas = [
            {"type": "content_block_delta", "index": index, "delta": {"type": kind, name: piece}} for piece in pieces
        ]
        start = {"type": "content_block_start", "index": index, "content_block": block}
        return [start, *deltas, {"type": "content_block_stop", "index": index}]


@dataclass
class FakeUpstream:
    """A model server on a free port of 127.0.0.1, as an async context manager.

    Attributes:
        behaviour: how it answers; may be replaced between requests.
        models: what it lists.
        requests: bodies received; `headers` are of the latest.
        open: exchanges in progress.
        left: exchanges a client abandoned.
    """

    dialect: Dialect = field(default_factory=OpenAIDialect)
    behaviour: Behaviour = field(default_factory=Behaviour)
    models: Sequence[str] = ("fake-large", "fake-small")
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    open: int = 0
    left: int = 0
    url: str = ""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _runner: web.AppRunner | None = None

    @property
    def connections(self) -> int:
        """Connections clients keep to it."""
        server = self._runner.server if self._runner is not None else None
        return len(server.connections) if server is not None else 0

    async def __aenter__(self) -> Self:
        await self.start(0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def start(self, port: int) -> None:
        """Listen."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post(self.dialect.path, self._generate)
        app.router.add_get("/v1/models", self._list)
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
        return web.json_response(self.dialect.listing(self.models))

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.headers = dict(request.headers)
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
        if fault in self.dialect.errors:
            return self._refusal(*self.dialect.errors[fault])
        if fault is Fault.NOT_A_STREAM:
            return web.Response(text="<html>sign in to the network</html>", content_type="text/html")
        if fault is Fault.HANG:
            await asyncio.Event().wait()
        if fault in (Fault.RESET, Fault.NOT_HTTP):
            self._break(request, b"" if fault is Fault.RESET else b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        frames = self.dialect.frames(behaviour, str(body.get("model")))
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
        told = 0
        for number, frame in enumerate(frames):
            if number and behaviour.pause:
                await asyncio.sleep(behaviour.pause)
            await response.write(frame)
            told += any(orjson.dumps(text)[1:-1] in frame for text in behaviour.deltas)
            if told and fault.name.endswith("_MID"):
                await self._fail(request, response, fault)
                return response
        await response.write_eof()
        return response

    async def _fail(self, request: web.Request, response: web.StreamResponse, fault: Fault) -> None:
        if fault is Fault.HANG_MID:
            await asyncio.Event().wait()
        elif fault is Fault.RESET_MID:
            self._break(request, b"")
        elif fault is Fault.GARBAGE_MID:
            await response.write(b"data: {broken\n\n")
        elif fault is Fault.ERROR_MID:
            await response.write(self.dialect.error_frame())
        await response.write_eof()

    def _break(self, request: web.Request, last_words: bytes) -> None:
        transport = request.transport
        if transport is None:
            return
        if last_words:
            transport.write(last_words)
            transport.close()
        else:
            transport.abort()

    def _refusal(self, status: int, kind: str) -> web.Response:
        headers = {"Retry-After": self.behaviour.retry_after} if status in (429, 503, 529) else {}
        return web.json_response(self.dialect.error(kind, self.behaviour.message), status=status, headers=headers)
