"""Answers read by the Python client."""

from collections.abc import AsyncGenerator

from somamesh import AsyncClient

from tests.e2e.stack import Stack
from tests.e2e.streams.reader import Ask


async def chat(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """`stream_chat` without retries, so that a test sees each answer."""
    async with (
        AsyncClient(stack.url, stack.key, max_retries=0) as client,
        client.stream_chat(ask.text, model=ask.model, conversation=ask.conversation) as answer,
    ):
        async for piece in answer:
            yield piece
