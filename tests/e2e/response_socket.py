"""A client of `WS /v1/responses` at the front door of a stack."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.e2e.scripted import MODEL
from tests.e2e.stack import CALL_SECONDS, Stack

LAST = ("response.completed", "response.incomplete", "response.failed", "error")


class ResponseSocket:
    """Sends messages and reads events."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def create(self, said: str | list[dict[str, Any]] = "Hi", **members: Any) -> None:
        """Ask for a response."""
        await self.connection.send(json.dumps({"type": "response.create", "model": MODEL, "input": said} | members))

    async def event(self, kind: str = "", seconds: float = CALL_SECONDS) -> dict[str, Any]:
        """The next event, or the next event of a type."""
        async with asyncio.timeout(seconds):
            while True:
                event: dict[str, Any] = json.loads(await self.connection.recv())
                if not kind or event["type"] == kind:
                    return event

    async def last(self) -> dict[str, Any]:
        """The last event of a response, or an error."""
        while (event := await self.event())["type"] not in LAST:
            pass
        return event

    async def turn(self, said: str | list[dict[str, Any]] = "Hi", **members: Any) -> dict[str, Any]:
        """Ask for a response; returns its last event."""
        await self.create(said, **members)
        return await self.last()


@asynccontextmanager
async def response_socket(stack: Stack, **options: Any) -> AsyncIterator[ResponseSocket]:
    """A connected client."""
    url = f"{stack.url.replace('http', 'ws', 1)}/v1/responses"
    headers = {"authorization": f"Bearer {stack.key}"}
    named: dict[str, Any] = {"ping_interval": None, "max_size": None, "close_timeout": 1.0, **options}
    async with connect(url, additional_headers=headers, **named) as connection:
        yield ResponseSocket(connection)


def answer_of(last: dict[str, Any]) -> str:
    """The text of a response, from its last event."""
    return "".join(
        part["text"] for item in last["response"]["output"] for part in item.get("content", ()) if "text" in part
    )
