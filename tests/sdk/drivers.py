"""Drives either client by the names of its methods, so that one test says what both do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from somamesh import Answer, AsyncClient, Client, Response


class Driver(Protocol):
    """A client in use."""

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        """What a method returns."""
        ...

    async def items(self, name: str, *args: Any, **options: Any) -> list[Any]:
        """What a method iterates over."""
        ...

    async def stream(self, name: str, *args: Any, **options: Any) -> tuple[list[str], Answer]:
        """The pieces of an answer, and the whole."""
        ...

    async def respond(self, *args: Any, **options: Any) -> tuple[list[str], Response]:
        """The pieces of a response's text, and the whole."""
        ...


class Synchronous:
    """Drives a `Client`, in a thread."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(getattr(self._client, name), *args, **options)

    async def items(self, name: str, *args: Any, **options: Any) -> list[Any]:
        return await asyncio.to_thread(lambda: list(getattr(self._client, name)(*args, **options)))

    async def stream(self, name: str, *args: Any, **options: Any) -> tuple[list[str], Answer]:
        def run() -> tuple[list[str], Answer]:
            with getattr(self._client, name)(*args, **options) as stream:
                return list(stream), stream.answer()

        return await asyncio.to_thread(run)

    async def respond(self, *args: Any, **options: Any) -> tuple[list[str], Response]:
        def run() -> tuple[list[str], Response]:
            with self._client.stream_response(*args, **options) as stream:
                return list(stream), stream.response()

        return await asyncio.to_thread(run)


class Asynchronous:
    """Drives an `AsyncClient`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        return await getattr(self._client, name)(*args, **options)

    async def items(self, name: str, *args: Any, **options: Any) -> list[Any]:
        return [item async for item in getattr(self._client, name)(*args, **options)]

    async def stream(self, name: str, *args: Any, **options: Any) -> tuple[list[str], Answer]:
        async with getattr(self._client, name)(*args, **options) as stream:
            return [piece async for piece in stream], await stream.answer()

    async def respond(self, *args: Any, **options: Any) -> tuple[list[str], Response]:
        async with self._client.stream_response(*args, **options) as stream:
            return [piece async for piece in stream], await stream.response()


def driving(kind: str, url: str, key: str, **options: Any) -> AbstractAsyncContextManager[Driver]:
    """A client of the kind, `sync` or `async`, in use."""

    @asynccontextmanager
    async def run() -> AsyncIterator[Driver]:
        if kind == "async":
            async with AsyncClient(url, key, **options) as client:
                yield Asynchronous(client)
        else:
            with Client(url, key, **options) as client:
                yield Synchronous(client)

    return run()
