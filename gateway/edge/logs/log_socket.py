"""One connection of `/ws/logs`: sends log entries to a client, and answers the client's messages."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.edge.logs.filters import Filters, Refused
from gateway.edge.logs.tail import Tails
from gateway.edge.ws.allowance import Allowance
from gateway.edge.ws.connection import Connection
from services.mesh.process.tasks import being_cancelled
from services.mesh.transport.websocket import POLICY


class Ended(Exception):
    """Why the server ends a connection: a close code and a text."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class LogSocket:
    """Sends a client the entries that match its filters; ends after `silence` seconds without a ping."""

    def __init__(
        self,
        connection: Connection,
        tails: Tails,
        *,
        per_minute: int,
        silence: float,
        alive: Callable[[], Awaitable[None]],
    ) -> None:
        self._connection = connection
        self._tails = tails
        self._silence = silence
        self._alive = alive
        self._now = asyncio.get_running_loop().time
        self._allowance = Allowance(per_minute, self._now())
        self._heard = self._now()
        self._filters = Filters()
        self._telling: asyncio.Task[None] | None = None

    async def serve(self, filters: Filters) -> None:
        """Return when the client has gone.

        Raises:
            ExceptionGroup: of Ended, or of the tail's failure.
        """
        self._filters = filters
        await self._connection.say(
            {"type": "connected", "message": "Connected to the log stream", "timestamp": _time()}
        )
        async with asyncio.TaskGroup() as group:
            self._tell(group)
            while (message := await self._next()) is not None:
                await self._hear(message, group)
                if being_cancelled():
                    # The tail has failed meanwhile, and what was waited for did not pass the cancellation on.
                    break
            self._stop()

    def _tell(self, group: asyncio.TaskGroup) -> None:
        """Send the entries that match the current filters, in place of those of the earlier ones."""
        self._stop()
        self._telling = group.create_task(self._follow(self._filters))

    def _stop(self) -> None:
        if self._telling is not None:
            self._telling.cancel()

    async def _follow(self, filters: Filters) -> None:
        async with aclosing(self._tails.messages(filters)) as messages:
            async for message in messages:
                await self._connection.say(message)

    async def _next(self) -> str | bytes | None:
        try:
            async with asyncio.timeout_at(self._heard + self._silence):
                return await self._connection.next()
        except TimeoutError:
            raise Ended(POLICY, f"no ping for {self._silence:g} seconds") from None

    async def _hear(self, said: str | bytes, group: asyncio.TaskGroup) -> None:
        wait = self._allowance.take(self._now())
        if wait:
            text = "Rate limit exceeded. Please wait before sending more messages."
            await self._connection.say({"type": "error", "message": text, "retry_after": math.ceil(wait)})
            return
        try:
            message = _read(said)
            if message["type"] == "ping":
                self._heard = self._now()
                await self._alive()
                await self._connection.say({"type": "pong", "timestamp": _time()})
            else:
                wishes = message.get("filters")
                if not isinstance(wishes, dict):
                    raise Refused("filters must be an object")
                self._filters = self._filters.changed(wishes)
                self._tell(group)
                shown = {name: getattr(self._filters, name) or None for name in Filters.__slots__}
                await self._connection.say({"type": "filters_updated", "filters": shown})
        except Refused as refused:
            await self._connection.say({"type": "error", "message": str(refused)})


def _read(said: str | bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(said)
    except orjson.JSONDecodeError:
        raise Refused("a message is a JSON object") from None
    if not isinstance(message, dict):
        raise Refused("a message is a JSON object")
    if message.get("type") not in ("ping", "update_filters"):
        raise Refused("type must be ping or update_filters")
    return message


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
