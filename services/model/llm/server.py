"""Serves the files in OpenAI's protocol on a socket that its parent listens on, until nobody has asked for long."""

import asyncio
import hmac
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import orjson
import structlog

from services.model.llm import request as http
from services.model.llm.calls import Unconstrained
from services.model.llm.completion import Completion
from services.model.llm.engine import Engine, EngineError
from services.model.llm.files import Files
from services.model.llm.grammar import Constrained, InvalidRequest, constrained
from services.model.llm.loaded import Loaded, Refused

_log = structlog.get_logger("llm")

# A client that sends nothing does not keep the process awake.
_REQUEST_SECONDS = 30.0
# A stream that waits shows that it is alive, long before its reader gives up.
_ALIVE_SECONDS = 5.0
# Members of a request that the part sets itself, or whose answers it could not read.
_OWN = (
    "stream",
    "stream_options",
    "grammar",
    "grammar_lazy",
    "grammar_triggers",
    "json_schema",
    "return_progress",
    "n",
)


class Server:
    """Answers on `listener`, one request for each connection.

    The process that listens keeps the socket open, so a connection that arrives while this one ends waits there.
    """

    def __init__(self, listener: socket.socket, key: str, files: Files, loaded: Loaded, idle_seconds: float) -> None:
        self._listener = listener
        self._key = f"Bearer {key}".encode()
        self._files = files
        self._loaded = loaded
        self._idle_seconds = idle_seconds
        self._open: set[asyncio.Task[None]] = set()
        self._last = 0.0

    async def run(self) -> None:
        """Serve until there was no connection for `idle_seconds`."""
        loop = asyncio.get_running_loop()
        idle: asyncio.Future[None] = loop.create_future()
        self._last = loop.time()
        self._listener.setblocking(False)
        # A connection is taken and counted in one step of the loop. So none is taken by a process that ends.
        loop.add_reader(self._listener, self._accept)

        def look() -> None:
            left = self._last + self._idle_seconds - loop.time()
            if self._open or left > 0:
                loop.call_later(left if left > 0 else self._idle_seconds, look)
                return
            loop.remove_reader(self._listener)
            idle.set_result(None)

        look()
        await idle

    def _accept(self) -> None:
        # The process that listens may have taken the connection, to refuse it.
        with suppress(BlockingIOError, ConnectionError):
            connection, _ = self._listener.accept()
            task = asyncio.get_running_loop().create_task(self._serve(connection))
            self._open.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        self._last = asyncio.get_running_loop().time()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("request_failed", exc_info=error)

    async def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                request = await http.read(reader)
        except (ValueError, TimeoutError, ConnectionError) as error:
            with suppress(ConnectionError):
                await http.Answer(writer).document(413 if isinstance(error, http.TooLarge) else 400, _error(400, error))
        else:
            if request is not None:
                await self._until_gone(request, reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _until_gone(
        self, request: http.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer, and stop at once when the client has left."""
        work = asyncio.ensure_future(self._answer(request, http.Answer(writer)))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, gone):
                task.cancel()
            results = await asyncio.gather(work, gone, return_exceptions=True)
        if isinstance(results[0], Exception) and not isinstance(results[0], ConnectionError):
            raise results[0]

    async def _answer(self, request: http.Request, answer: http.Answer) -> None:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode("latin-1"), self._key):
            return await answer.document(401, _error(401, "the key is wrong"))
        match request.method, request.path.partition("?")[0]:
            case "GET", "/health":
                await answer.document(200, {"model": self._loaded.name, "running": self._loaded.running})
            case "GET", "/v1/models":
                listed = [{"id": file.name, "object": "model"} for file in await asyncio.to_thread(self._files.all)]
                await answer.document(200, {"object": "list", "data": listed})
            case "POST", "/v1/chat/completions":
                await self._chat(request.body, answer)
            case _:
                await answer.document(404, _error(404, f"there is no {request.method} {request.path}"))

    async def _chat(self, body: bytes, answer: http.Answer) -> None:
        try:
            asked = orjson.loads(body)
            if not isinstance(asked, dict):
                raise InvalidRequest("the body is not a JSON object")
            stream = asked.get("stream") is True
            own = constrained({name: value for name, value in asked.items() if name not in _OWN})
            await self._complete(own, stream, answer)
        except (InvalidRequest, orjson.JSONDecodeError) as error:
            await _refuse(answer, 400, error)
        except Unconstrained as error:
            await _refuse(answer, 500, error)
        except EngineError as error:
            await _refuse(answer, error.status, error)

    async def _complete(self, own: Constrained, stream: bool, answer: http.Answer) -> None:
        name = str(own.body.get("model") or "")
        file = await asyncio.to_thread(self._files.find, name)
        if file is None:
            raise EngineError(404, f"there is no model `{name}`")
        completion = Completion(name, own.tools)
        async with aclosing(self._chunks(own, file)) as chunks:
            async for chunk in chunks:
                if chunk is None:
                    if stream:
                        await answer.alive()
                    continue
                for each in completion.chunks(chunk):
                    if stream:
                        await answer.event(each)
        if stream:
            await answer.event("[DONE]")
            await answer.end()
        else:
            await answer.document(200, completion.whole())

    async def _chunks(self, own: Constrained, file: Any) -> AsyncGenerator[dict[str, Any] | None, None]:
        """llama.cpp's chunks; None now and then while there is none."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        stopped = False

        def take(chunk: dict[str, Any]) -> bool:
            loop.call_soon_threadsafe(queue.put_nowait, chunk)
            return stopped

        def compute(engine: Engine) -> None:
            if not stopped:
                engine.answer(own.body, take)

        async def answered() -> None:
            try:
                async with self._loaded.slot(file) as engine:
                    work = loop.run_in_executor(self._loaded.threads, compute, engine)
                    try:
                        await asyncio.shield(work)
                    finally:
                        # The slot is free only when the thread has seen that nobody reads.
                        await asyncio.wait((work,))
            finally:
                queue.put_nowait(None)

        task = asyncio.create_task(answered())
        try:
            while True:
                try:
                    async with asyncio.timeout(_ALIVE_SECONDS):
                        chunk = await queue.get()
                except TimeoutError:
                    yield None
                    continue
                if chunk is None:
                    break
                yield chunk
            await task
        finally:
            stopped = True
            task.cancel()
            await asyncio.wait((task,))


async def _refuse(answer: http.Answer, status: int, error: Exception) -> None:
    """Say what failed: as the status, or as the last event of a stream that has begun."""
    content = _error(status, error)
    if answer.begun:
        await answer.event(content)
        await answer.end()
    else:
        await answer.document(status, content)


def _error(status: int, why: object) -> dict[str, Any]:
    kind = why.reason if isinstance(why, Refused) else "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": str(why) or type(why).__name__, "type": kind, "code": status}}
