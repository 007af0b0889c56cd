"""A connection for code without asyncio."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from somamesh.answers import Turn
from somamesh.calls import Call, Listing, Reader, Streaming
from somamesh.channels import OPTIONS
from somamesh.generated.stubs import Stubs
from somamesh.outgoing import Attempts, Outgoing
from somamesh.response_streams import ResponseReader
from somamesh.retries import Retries
from somamesh.settings import endpoint
from somamesh.streams import AnswerStream, ResponseStream, Stream

T = TypeVar("T")
R = TypeVar("R", bound=Reader[object])


class Connection:
    """A connection to one mesh; a context manager.

    Args:
        base_url: `http://host:port`, or `https://host:port` for TLS; else `SOMA_API_URL`, else `http://127.0.0.1:8080`.
        api_key: else `SOMA_API_KEY`.
        timeout: seconds for a call, all attempts together; else 30, or 600 when a model answers.
        max_retries: how many times a call is retried after a temporary failure, if it may be made twice.
        ca_file: PEM file with the certificates of the authorities to trust; else the system's.
    """

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
        self._channel = (
            grpc.secure_channel(where.target, where.credentials(), OPTIONS)
            if where.secure
            else grpc.insecure_channel(where.target, OPTIONS)
        )
        self._stubs = Stubs(self._channel)
        self._outgoing = Outgoing(where.api_key, timeout, Retries(max_retries))

    def make(self, call: Call[T]) -> T:
        """Make a call, and retry it if it may be retried."""
        attempts = self._outgoing.attempts(call)
        method = call.method(self._stubs)
        while True:
            try:
                response = method(call.request, timeout=attempts.remaining(), metadata=attempts.metadata)
            except grpc.RpcError as error:
                time.sleep(attempts.after(error))
            else:
                attempts.note("OK")
                return call.read(response)

    def begin(self, turning: Streaming[Turn]) -> AnswerStream:
        """Begin a turn."""
        call, turn, attempt = self._open(turning)
        return AnswerStream(call, turn, attempt)

    def respond(self, making: Streaming[ResponseReader]) -> ResponseStream:
        """Begin a response."""
        call, reader, attempt = self._open(making)
        return ResponseStream(call, reader, attempt)

    def follow(self, following: Streaming[Reader[T]]) -> Stream[T]:
        """Begin a stream."""
        call, reader, attempt = self._open(following)
        return Stream(call, reader, attempt)

    def _open(self, streaming: Streaming[R]) -> tuple[Any, R, Attempts]:
        attempt = self._outgoing.attempt(streaming)
        method = streaming.method(self._stubs)
        call = method(streaming.request, timeout=attempt.remaining(), metadata=attempt.metadata)
        return call, streaming.reader(attempt.request_id), attempt

    def walk(self, listing: Listing[T]) -> Iterator[T]:
        """Iterate over the items of a list, page after page."""
        token = ""
        while True:
            page = self.make(listing.page(token))
            yield from page.items
            token = page.next_token
            if not token:
                return

    def close(self) -> None:
        """Close the connection. Calls in progress end."""
        self._outgoing.closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
