"""A connection for asyncio."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from somamesh.answers import Turn
from somamesh.async_streams import AsyncAnswerStream, AsyncResponseStream, AsyncStream, task_is_cancelled
from somamesh.calls import Call, Listing, Reader, Streaming
from somamesh.channels import OPTIONS
from somamesh.failures import cut_off
from somamesh.generated.stubs import Stubs
from somamesh.outgoing import Attempts, Outgoing
from somamesh.response_streams import ResponseReader
from somamesh.retries import Retries
from somamesh.settings import endpoint

T = TypeVar("T")
R = TypeVar("R", bound=Reader[object])


class AsyncConnection:
    """`Connection` for asyncio; an async context manager. It belongs to the event loop that uses it first."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float | None = None,
        max_retries: int = 4,
        ca_file: str | Path | None = None,
    ) -> None:
        where = endpoint(base_url, api_key, ca_file)
        self._target = where.target
        self._credentials = where.credentials() if where.secure else None
        self._outgoing = Outgoing(where.api_key, timeout, Retries(max_retries))
        self._loop: asyncio.AbstractEventLoop | None = None

    async def make(self, call: Call[T]) -> T:
        """Make a call, and retry it if it may be retried."""
        attempts = self._outgoing.attempts(call)
        method = call.method(self._stubs())
        while True:
            try:
                response = await method(call.request, timeout=attempts.remaining(), metadata=attempts.metadata)
            except grpc.RpcError as error:
                await asyncio.sleep(attempts.after(error))
            except asyncio.CancelledError:
                if task_is_cancelled():
                    raise
                raise cut_off(attempts.request_id) from None
            else:
                attempts.note("OK")
                return call.read(response)

    def begin(self, turning: Streaming[Turn]) -> AsyncAnswerStream:
        """Begin a turn."""
        call, turn, attempt = self._open(turning)
        return AsyncAnswerStream(call, turn, attempt)

    def respond(self, making: Streaming[ResponseReader]) -> AsyncResponseStream:
        """Begin a response."""
        call, reader, attempt = self._open(making)
        return AsyncResponseStream(call, reader, attempt)

    def follow(self, following: Streaming[Reader[T]]) -> AsyncStream[T]:
        """Begin a stream."""
        call, reader, attempt = self._open(following)
        return AsyncStream(call, reader, attempt)

    def _open(self, streaming: Streaming[R]) -> tuple[Any, R, Attempts]:
        attempt = self._outgoing.attempt(streaming)
        method = streaming.method(self._stubs())
        call = method(streaming.request, timeout=attempt.remaining(), metadata=attempt.metadata)
        return call, streaming.reader(attempt.request_id), attempt

    async def walk(self, listing: Listing[T]) -> AsyncIterator[T]:
        """Iterate over the items of a list, page after page."""
        token = ""
        while True:
            page = await self.make(listing.page(token))
            for item in page.items:
                yield item
            token = page.next_token
            if not token:
                return

    async def close(self) -> None:
        """Close the connection. Calls in progress end."""
        if self._loop is not None:
            self._require_own_loop()
            await self._channel.close()
        self._outgoing.closed = True

    def _stubs(self) -> Stubs:
        """Return the stubs; the first call makes their channel, in the current event loop.

        Raises:
            RuntimeError: the client belongs to another event loop.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._channel = (
                grpc.aio.insecure_channel(self._target, OPTIONS)
                if self._credentials is None
                else grpc.aio.secure_channel(self._target, self._credentials, OPTIONS)
            )
            self._made = Stubs(self._channel)
        self._require_own_loop()
        return self._made

    def _require_own_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("this client belongs to another event loop: make one for each")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
