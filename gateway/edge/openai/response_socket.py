"""One WebSocket for responses: reads the client's messages ahead, and answers them one after the other.

Open Responses, revision 2026-04-24, "WebSocket Transport": one response at a time for each connection.
"""

import asyncio
from collections import deque
from typing import Final

from soma.errors.v1 import reasons

from gateway.edge.openai.response_creation import Creation
from gateway.edge.openai.response_turn import Client, ResponseTurns
from gateway.edge.ws.connection import Connection
from services.mesh.call.errors import FailedPrecondition
from services.mesh.transport.websocket import POLICY, RESTART

GOING_AWAY = 1001
MOST_WAITING: Final = 16
"""So many messages are read while a response is made; the client's next ones wait on the network."""
LARGE: Final = 1024 * 1024
"""While messages of more than this many bytes wait, no more are read."""


class ResponseSocket:
    """Serves a connection until its client leaves, its server stops, or it has been open for `seconds`."""

    def __init__(self, connection: Connection, client: Client, turns: ResponseTurns, seconds: float) -> None:
        self._connection = connection
        self._client = client
        self._turns = turns
        self._seconds = seconds
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._left = False
        # The code and the text to close with, once the response that is being made has ended.
        self._end: tuple[int, str] | None = None

    async def serve(self) -> tuple[int, str]:
        """Serve to the end; returns the code and the text to close with, if the client has not closed."""
        loop = asyncio.get_running_loop()
        limit = loop.call_later(self._seconds, self._expire)
        self._client.wire.stopping = self._stop
        reading = loop.create_task(self._read())
        try:
            while (message := await self._next()) is not None:
                status = await self._turns.answer(message, self._client)
                if status == 401:
                    self._end = POLICY, "the API key is not valid any more"
            if self._end is not None and self._end[0] == GOING_AWAY:
                await self._tell_limit()
            return self._end or (1000, "")
        except asyncio.CancelledError:
            # The server stops, and the response took too long.
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            return RESTART, "the server is stopping"
        finally:
            limit.cancel()
            reading.cancel()
            await self._client.kept.close()

    async def _next(self) -> bytes | None:
        """The next message; None at the end."""
        while self._end is None and not self._left:
            if self._messages:
                message = self._messages.popleft()
                self._bytes -= len(message)
                self._room.set()
                return message
            self._news.clear()
            await self._news.wait()
        return None

    async def _read(self) -> None:
        # Reading goes on while a response is made: only so it is noticed that the client has left.
        while (message := await self._connection.next()) is not None:
            assert isinstance(message, bytes)
            self._messages.append(message)
            self._bytes += len(message)
            self._news.set()
            while len(self._messages) >= MOST_WAITING or self._bytes > LARGE:
                self._room.clear()
                await self._room.wait()
        self._left = True
        self._news.set()
        self._client.departure.happen()

    def _expire(self) -> None:
        self._finish(GOING_AWAY, "the connection has been open for as long as it may be")

    def _stop(self) -> None:
        self._finish(RESTART, "the server is stopping")

    def _finish(self, code: int, why: str) -> None:
        self._end = code, why
        self._news.set()

    async def _tell_limit(self) -> None:
        minutes = f"{self._seconds / 60:g} minutes"
        error = FailedPrecondition(
            f"The limit of {minutes} for a connection is reached. Open a new WebSocket to continue.",
            reason=reasons.WEBSOCKET_CONNECTION_LIMIT_REACHED,
        )
        await self._connection.write(Creation().error(error))
