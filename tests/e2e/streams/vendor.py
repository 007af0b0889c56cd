"""Answers over OpenAI's paths, read by OpenAI's Python client."""

from collections.abc import AsyncGenerator
from typing import Any

from openai.types.responses import Response

from tests.e2e.stack import Stack
from tests.e2e.streams.reader import Ask, Cut, Refused


async def completion(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """A chat completion, whole."""
    async with stack.openai() as client:
        answer = await client.chat.completions.create(
            model=ask.model, messages=[{"role": "user", "content": ask.text}], extra_body=_kept(ask)
        )
    yield answer.choices[0].message.content or ""


async def completion_streamed(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """A chat completion, chunk by chunk."""
    finished = False
    async with (
        stack.openai() as client,
        await client.chat.completions.create(
            model=ask.model, messages=[{"role": "user", "content": ask.text}], extra_body=_kept(ask), stream=True
        ) as stream,
    ):
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield choice.delta.content
                finished = finished or choice.finish_reason is not None
    if not finished:
        raise Cut


async def response(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """A response, whole."""
    async with stack.openai() as client:
        answer = await client.responses.create(model=ask.model, input=ask.text, extra_body=_kept(ask))
    _completed(answer)
    yield answer.output_text


async def response_streamed(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """A response, event by event."""
    last: Response | None = None
    async with (
        stack.openai() as client,
        await client.responses.create(model=ask.model, input=ask.text, extra_body=_kept(ask), stream=True) as stream,
    ):
        async for event in stream:
            if event.type == "response.output_text.delta":
                yield event.delta
            elif event.type in ("response.completed", "response.failed", "response.incomplete"):
                last = event.response
    if last is None:
        raise Cut
    _completed(last)


def _kept(ask: Ask) -> dict[str, Any]:
    return {"conversation": ask.conversation} if ask.conversation else {}


def _completed(answer: Response) -> None:
    if answer.status != "completed":
        assert answer.error is not None
        raise Refused(200, answer.error.code)
