"""The servicer's half of a local call: its `grpc.aio.ServicerContext`."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Never

import grpc

from services.mesh.call.call import InProcess
from services.mesh.call.carrier import Metadata
from services.mesh.transport.local.exchange import Exchange
from services.mesh.transport.local.outcome import failure

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class LocalContext(grpc.aio.ServicerContext[Any, Any], InProcess):
    """What a servicer sees of a call that came over a local channel."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @property
    def carried(self) -> Any:
        """The result of the channel's `capture` in the caller's context; None without `capture`."""
        return self._exchange.carried

    async def read(self) -> Any:
        """The next request, or `grpc.aio.EOF` after half-close."""
        return await receive(self._exchange)

    async def write(self, message: Any) -> None:
        """Send one response of a stream."""
        exchange = self._exchange
        if exchange.responses is None:
            raise grpc.aio.UsageError("This RPC answers with one message: return it.")
        if exchange.respond(message):
            await exchange.responses.room()

    async def send_initial_metadata(self, initial_metadata: Metadata) -> None:
        """Send the initial metadata now; it can be sent once."""
        if self._exchange.initial is not None:
            raise grpc.aio.UsageError("Send initial metadata failed: already sent")
        self._exchange.open(tuple(initial_metadata))

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: Metadata = (),
    ) -> Never:
        """End the call with an error. The caller gets it at once, even if the servicer catches the exception."""
        self.refuse(code, details, trailing_metadata)
        raise grpc.aio.AbortError("Locally aborted.")

    def refuse(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> None:
        """End the call with an error, without an exception here."""
        if code is grpc.StatusCode.OK:
            raise grpc.aio.UsageError("A call is not aborted with OK.")
        self._exchange.conclude(failure(code, details, tuple(trailing_metadata) or self._exchange.trailing))

    async def abort_with_status(self, status: grpc.Status) -> Never:
        """End the call with a status, for example one of `grpc_status.rpc_status.to_status`."""
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        """Replace the trailing metadata."""
        self._exchange.trailing = tuple(trailing_metadata)

    def trailing_metadata(self) -> Any:
        """The trailing metadata set so far."""
        return self._exchange.trailing

    def invocation_metadata(self) -> Any:
        """The caller's metadata as pairs."""
        return self._exchange.metadata

    def set_code(self, code: grpc.StatusCode | int) -> None:
        """Set the status the call is to end with; if it is not OK, a returned response is dropped."""
        self._exchange.code = _CODES[code] if isinstance(code, int) else code

    def set_details(self, details: str) -> None:
        """Set the status message."""
        self._exchange.details = details

    def code(self) -> Any:
        """The status that was set; None without one."""
        return self._exchange.code

    def details(self) -> str:
        """The status message that was set."""
        return self._exchange.details

    def cancelled(self) -> bool:
        """Whether the caller cancelled the call or its deadline has passed."""
        return self._exchange.interrupted

    def done(self) -> bool:
        """Whether the call has ended for its caller, or its servicer has ended."""
        return self._exchange.outcome is not None or self._exchange.serving is None

    def time_remaining(self) -> Any:
        """Seconds left; None without a deadline."""
        return self._exchange.remaining()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have `callback(context)` called when the servicer's task has ended."""
        if self._exchange.callee_done is None:
            self._exchange.callee_done = []
        self._exchange.callee_done.append(partial(callback, self))

    def set_compression(self, compression: grpc.Compression) -> None:
        """Do nothing: calls inside a process are not compressed."""

    def disable_next_message_compression(self) -> None:
        """Do nothing: calls inside a process are not compressed."""

    def peer(self) -> str:
        """The caller's address in gRPC's form; a call inside a process has none."""
        return "local:"

    def peer_identities(self) -> Iterable[bytes] | None:
        """None: a call inside a process has no certificate."""
        return None

    def peer_identity_key(self) -> str | None:
        """None: a call inside a process has no certificate."""
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Empty: a call inside a process has no certificate."""
        return {}


class RequestIterator:
    """The requests of a client stream as the servicer iterates them; an interrupted upload raises an exception."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __aiter__(self) -> "RequestIterator":
        return self

    async def __anext__(self) -> Any:
        message = await receive(self._exchange)
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return message


async def receive(exchange: Exchange) -> Any:
    """The next request of a stream, or EOF after half-close.

    Raises:
        asyncio.CancelledError: the caller cancelled, its deadline passed, or its own iterator failed.
    """
    requests = exchange.requests
    if requests is None:
        raise grpc.aio.UsageError("This RPC takes one request: it was passed in.")
    if not requests.messages and not requests.closed:
        await requests.readable()
    if exchange.interrupted:
        raise asyncio.CancelledError
    return requests.pop() if requests.messages else grpc.aio.EOF


async def respond_all(exchange: Exchange, produced: Any) -> None:
    """Send the responses that a servicer yields; a servicer that only uses `context.write` is awaited."""
    responses = exchange.responses
    assert responses is not None
    if not hasattr(produced, "__aiter__"):
        await produced
        return
    try:
        async for message in produced:
            if exchange.respond(message):
                await responses.room()
    finally:
        # Cancelled while the generator was suspended at its `yield`: run its clean-up now, not when it is collected.
        if hasattr(produced, "aclose"):
            await produced.aclose()
    # The end of the task ends the call as well, but a turn of the loop later, and only then does the caller read on.
    exchange.complete()
