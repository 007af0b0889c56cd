"""Answers over REST: events of a turn and of a generation, and the answer of a chat session."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx
import orjson

from tests.e2e.stack import Stack
from tests.e2e.streams.reader import Ask, Cut, Refused
from tests.e2e.surfaces import events


async def chat(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """`POST /v1/chat`."""
    async with aclosing(_streamed(stack, "/v1/chat", ask)) as pieces:
        async for piece in pieces:
            yield piece


async def generate(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """`POST /v1/generate`."""
    async with aclosing(_streamed(stack, "/v1/generate", ask)) as pieces:
        async for piece in pieces:
            yield piece


async def session(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """A message to a new chat session, and its whole answer."""
    path = "/api/v1/chat/sessions"
    async with stack.http() as http:
        made = await http.post(path, json={"model_name": ask.model})
        made.raise_for_status()
        answer = await http.post(f"{path}/{made.json()['id']}/messages", json={"message": ask.text})
    if answer.status_code != 200:
        raise _refused(answer, answer.content)
    yield answer.json()["response"]


async def _streamed(stack: Stack, path: str, ask: Ask) -> AsyncGenerator[str, None]:
    body: dict[str, Any] = {"model": ask.model, "messages": [{"role": "ROLE_USER", "content": ask.text}]}
    if ask.conversation:
        body["conversation_id"] = ask.conversation
    finished = False
    async with stack.http() as http, http.stream("POST", path, json=body) as answer:
        if answer.status_code != 200:
            raise _refused(answer, await answer.aread())
        async with aclosing(events(answer)) as received:
            async for data in received:
                event = orjson.loads(data)
                assert not finished, f"{event} after the final event"
                if "error" in event:
                    told = event["error"]
                    raise Refused(200, told["reason"], told["retry_after_seconds"] or None)
                if "delta" in event:
                    yield event["delta"]["text"]
                finished = "finished" in event
    if not finished:
        raise Cut


def _refused(answer: httpx.Response, body: bytes) -> Refused:
    error = orjson.loads(body)["error"]
    assert error["code"] == answer.status_code
    (info,) = [detail for detail in error["details"] if detail["@type"].endswith("ErrorInfo")]
    wait = answer.headers.get("retry-after")
    return Refused(answer.status_code, info["reason"], float(wait) if wait else None)
