"""The log of tasks over `/ws/logs` and as server-sent events; these streams do not end by themselves."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from websockets.asyncio.client import connect

from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.streams.reader import Ask, Cut, Refused
from tests.e2e.surfaces import events

# A silent task sends a heartbeat every 15 s, so a client must wait longer than that.
SILENCE_SECONDS = 2 * CALL_SECONDS


async def socket(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """The kinds of the messages of a WebSocket; `ask.conversation` names a task, or is empty for all."""
    url = f"{stack.url.replace('http', 'ws', 1)}/ws/logs?token={stack.key}&task_id={ask.conversation}"
    async with connect(url, ping_interval=None) as connection:
        while True:
            yield json.loads(await connection.recv())["type"]


async def tail(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """The kinds of the events of `GET /api/v1/logs/stream/{task_id}`."""
    path = f"/api/v1/logs/stream/{ask.conversation}"
    async with stack.http() as http, http.stream("GET", path, timeout=SILENCE_SECONDS) as answer:
        assert answer.status_code == 200
        async with aclosing(events(answer)) as received:
            async for data in received:
                event = json.loads(data)
                if "error" in event:
                    raise Refused(200, event["error"]["reason"])
                yield next(kind for kind in event if kind != "sequence")
    raise Cut
