"""Calls the methods of either client by name, so that one test covers both clients."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from somamesh import Answer, AsyncClient, Client, Event, Response


class Driver(Protocol):
    """Calls the methods of a client."""

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        """Call a method and return its result."""
        ...

    async def items(self, name: str, *args: Any, **options: Any) -> list[Any]:
        """Call a method and return the items that it iterates over."""
        ...

    async def stream(self, name: str, *args: Any, **options: Any) -> tuple[list[str], Answer]:
        """Stream an answer; return its pieces and the whole answer."""
        ...

    async def events(self, name: str, *args: Any, **options: Any) -> tuple[list[Event], Any]:
        """Stream an answer or a response; return its events and the whole of it."""
        ...

    async def respond(self, *args: Any, **options: Any) -> tuple[list[str], Response]:
        """Stream a response; return the pieces of its text and the whole response."""
        ...


class Synchronous:
    """Calls a `Client` in a thread."""

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

    async def events(self, name: str, *args: Any, **options: Any) -> tuple[list[Event], Any]:
        def run() -> tuple[list[Event], Any]:
            with getattr(self._client, name)(*args, **options) as stream:
                return list(stream.events()), _whole_of(stream)()

        return await asyncio.to_thread(run)

    async def respond(self, *args: Any, **options: Any) -> tuple[list[str], Response]:
        def run() -> tuple[list[str], Response]:
            with self._client.stream_response(*args, **options) as stream:
                return list(stream), stream.response()

        return await asyncio.to_thread(run)


class Asynchronous:
    """Calls an `AsyncClient`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        return await getattr(self._client, name)(*args, **options)

    async def items(self, name: str, *args: Any, **options: Any) -> list[Any]:
        return [item async for item in getattr(self._client, name)(*args, **options)]

    async def stream(self, name: str, *args: Any, **options: Any) -> tuple[list[str], Answer]:
        async with getattr(self._client, name)(*args, **options) as stream:
            return [piece async for piece in stream], await stream.answer()

    async def events(self, name: str, *args: Any, **options: Any) -> tuple[list[Event], Any]:
        async with getattr(self._client, name)(*args, **options) as stream:
            return [event async for event in stream.events()], await _whole_of(stream)()

    async def respond(self, *args: Any, **options: Any) -> tuple[list[str], Response]:
        async with self._client.stream_response(*args, **options) as stream:
            return [piece async for piece in stream], await stream.response()


def driving(kind: str, url: str, key: str, **options: Any) -> AbstractAsyncContextManager[Driver]:
    """Open a client of the kind `sync` or `async`."""

    @asynccontextmanager
    async def run() -> AsyncIterator[Driver]:
        if kind == "async":
            async with AsyncClient(url, key, **options) as client:
                yield Asynchronous(client)
        else:
            with Client(url, key, **options) as client:
                yield Synchronous(client)

    return run()


def _whole_of(stream: Any) -> Callable[[], Any]:
    whole: Callable[[], Any] = getattr(stream, "answer", None) or stream.response
    return whole
