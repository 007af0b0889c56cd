"""What every RPC passes through on its way to the servicer, over any transport.

An interceptor adds up to three plain functions to a method: one before the servicer runs, one for each request
message, one when the call is over. The pipeline joins them in one wrapper per method when the server is built, so a
call costs a loop over functions and no nested coroutine. The pipeline also ends a call: an exception becomes a
`google.rpc.Status`, and after a stream's first message the typed `error` payload as well. And it numbers the messages
of a stream by their place in the call, if they have a `sequence` that is not marked as kept.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from inspect import iscoroutinefunction
from time import monotonic
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from soma.errors.v1 import reasons
from soma.mesh.v1.stream_pb2 import kept

from services.mesh.call import errors
from services.mesh.call.barrier import Barrier
from services.mesh.call.call import Call, InProcess, current
from services.mesh.call.hooks import Enter, Interceptor, Leave, Received
from services.mesh.call.interceptors.deadline import ending
from services.mesh.call.interceptors.errors import translate
from services.mesh.call.method import Method, method
from services.mesh.call.status import CODES, DETAILS_KEY, RETRY_KEY, to_status

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

AtOnce: TypeAlias = "Callable[[Any, Any], Any]"
"""Serves a call from inside the process without waiting: gives the response, or None after `context.refuse`.

A task and three turns of the event loop would take longer than most plain functions.
"""

UNREADABLE = object()
"""Stands for a request that a server could not decode."""

_KINDS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class Pipeline:
    """Wraps handlers in the given interceptors, outermost first."""

    def __init__(self, interceptors: Sequence[Interceptor]) -> None:
        self._interceptors = tuple(interceptors)

    def wrap_all(self, handlers: Mapping[str, Handler]) -> dict[str, Handler]:
        """Wrap handlers keyed by path (`/package.Service/Method`).

        Raises:
            LookupError: a method has no contract or no authorisation rule.
        """
        return {path: self.wrap(method(path), handler) for path, handler in handlers.items()}

    def wrap(self, rpc: Method, handler: Handler) -> Handler:
        """Wrap one handler; the result is of the same kind, and its function is async.

        A servicer's method with one request and one response may be a plain function. The wrapped function then has an
        attribute `at_once`: the same for a call inside the process, as a plain function (see `AtOnce`).
        """
        hooks = [interceptor(rpc) for interceptor in self._interceptors]
        fused = _Fused(
            rpc,
            tuple(h.enter for h in hooks if h.enter),
            tuple(h.received for h in hooks if h.received),
            tuple(h.leave for h in reversed(hooks) if h.leave),
        )
        decode, encode = handler.request_deserializer, handler.response_serializer
        behaviour: Any = handler.unary_unary or handler.stream_unary or handler.unary_stream or handler.stream_stream
        wrapped: Any = fused.stream(behaviour) if rpc.server_streaming else fused.unary(behaviour)
        make: Any = _KINDS[rpc.client_streaming, rpc.server_streaming]
        made: Handler = make(wrapped, request_deserializer=decode, response_serializer=encode)
        return made


class _Fused:
    """The hooks of one method, ready to run."""

    __slots__ = ("enters", "error_field", "leaves", "numbered", "receives", "rpc")

    def __init__(
        self, rpc: Method, enters: tuple[Enter, ...], receives: tuple[Received, ...], leaves: tuple[Leave, ...]
    ) -> None:
        self.rpc = rpc
        self.enters = enters
        self.receives = receives
        self.leaves = leaves
        self.error_field = _error_field(rpc.response) if rpc.server_streaming else None
        self.numbered = rpc.server_streaming and _numbered(rpc.response)

    def unary(self, behaviour: Any) -> Callable[[Any, Context], Awaitable[Message]]:
        """Wrap a method with one response, which may be a plain function."""
        rpc, enters = self.rpc, self.enters
        waits = rpc.client_streaming or iscoroutinefunction(behaviour)

        async def call_unary(request: Any, context: Context) -> Message:
            call = _begun(rpc, context)
            try:
                for enter in enters:
                    pending = enter(call)
                    if pending is not None:
                        await pending
                answer = behaviour(self._admitted(call, request), context)
                response: Message = await answer if waits else answer
                if call.barrier and not call.local:
                    await call.barrier.passed()
                if call.compressed or call.spent is not None:
                    await _begin(call, context)
            except BaseException as exception:
                error = self._over(call, exception)
                if error is None:
                    raise
                # A frame that refers to an error in whose traceback it is needs the garbage collector.
                ends = _ending(error)
                del error
                await context.abort(*ends)
                raise
            self._left(call, None)
            return response

        if not waits:
            served: Any = call_unary
            served.at_once = self._at_once(behaviour)
        return call_unary

    def _at_once(self, behaviour: Callable[[Any, Context], Message]) -> AtOnce:
        rpc, enters, leaves = self.rpc, self.enters, self.leaves

        def call_at_once(request: Any, context: Any) -> Message | None:
            call = _begun(rpc, context)
            try:
                for enter in enters:
                    if enter(call) is not None:
                        raise TypeError("an interceptor waits in a call from inside the process")
                response = behaviour(self._admitted(call, request), context)
            except BaseException as exception:
                error = self._over(call, exception)
                if error is None:
                    raise
                context.refuse(*_ending(error))
                del error
                return None
            for leave in leaves:
                leave(call, None)
            return response

        return call_at_once

    def stream(
        self, behaviour: Callable[[Any, Context], AsyncGenerator[Message, None]]
    ) -> Callable[[Any, Context], AsyncGenerator[Message, None]]:
        """Wrap a method with a stream of responses."""
        rpc, enters, numbered = self.rpc, self.enters, self.numbered

        async def call_stream(request: Any, context: Context) -> AsyncGenerator[Message, None]:
            call = _begun(rpc, context)
            last: Any = None
            number, told = 0, False
            responses: AsyncGenerator[Message, None] | None = None
            try:
                for enter in enters:
                    pending = enter(call)
                    if pending is not None:
                        await pending
                responses = behaviour(self._admitted(call, request), context)
                if call.ends is not None:
                    responses = ending(responses, call.ends)
                async for last in responses:
                    if call.spent is not None and not told:
                        told = True
                        await _begin(call, context)
                    if numbered:
                        last.sequence = number
                        number += 1
                    if call.barrier and not call.local:
                        await call.barrier.passed()
                    yield last
                if call.barrier and not call.local:
                    await call.barrier.passed()
            except GeneratorExit:
                self._over(call, asyncio.CancelledError())
                raise
            except BaseException as exception:
                error = self._over(call, exception)
                if error is None:
                    raise
                if last is not None:
                    final = self._last_message(last, number, error)
                    if final is not None:
                        yield final
                ends = _ending(error)
                del error
                await context.abort(*ends)
                raise
            finally:
                if responses is not None:
                    await responses.aclose()
            self._left(call, None)

        return call_stream

    def _admitted(self, call: Call, request: Any) -> Any:
        """The request, or requests, for the servicer, once the interceptors have let the call in."""
        if self.rpc.client_streaming:
            request = self._watched(call, request)
        elif request is UNREADABLE:
            raise _unreadable()
        else:
            for received in self.receives:
                received(call, request)
        call.begin()
        current.set(call)
        return request

    async def _watched(self, call: Call, requests: AsyncIterable[Message]) -> AsyncIterator[Message]:
        receives = self.receives
        async for request in requests:
            if request is UNREADABLE:
                raise _unreadable()
            for received in receives:
                received(call, request)
            yield request

    def _over(self, call: Call, exception: BaseException) -> errors.MeshError | None:
        """Close the call; returns the error to send, or None when the caller is gone."""
        error = translate(call, exception)
        self._left(call, error if error is not None else errors.Cancelled("the caller went away"))
        return error

    def _left(self, call: Call, error: errors.MeshError | None) -> None:
        if call.barrier is not None and not call.local:
            call.barrier.open()
        for leave in self.leaves:
            leave(call, error)

    def _last_message(self, last: Any, number: int, error: errors.MeshError) -> Message | None:
        """The stream's last message, for clients that cannot see its status; None if the contract has no such field."""
        if self.error_field is None or self.rpc.response is None:
            return None
        final: Any = GetMessageClass(self.rpc.response)()
        if self.numbered:
            final.sequence = number
        elif "sequence" in self.rpc.response.fields_by_name:
            final.sequence = last.sequence + 1
        payload = getattr(final, self.error_field)
        payload.code = error.code
        payload.status = error.code.name
        payload.reason = error.reason
        payload.message = error.message
        payload.retry_after_seconds = error.facts.retry_after or 0.0
        return final  # type: ignore[no-any-return]


def _unreadable() -> errors.InvalidArgument:
    why = "the request is no message of the contract, holds text that is not UTF-8, or is nested too deep"
    return errors.InvalidArgument(why, reason=reasons.MALFORMED_MESSAGE)


def _numbered(response: Descriptor | None) -> bool:
    """Whether a stream's responses have a `sequence` that is their place in the call."""
    field = response.fields_by_name.get("sequence") if response is not None else None
    return field is not None and not field.GetOptions().Extensions[kept]


def _error_field(response: Descriptor | None) -> str | None:
    """The field of a stream's response that carries its typed error; it is found by its type."""
    for field in response.fields if response is not None else ():
        if field.message_type is not None and field.message_type.full_name == "soma.mesh.v1.StreamError":
            return str(field.name)
    return None


def _begun(rpc: Method, context: Context) -> Call:
    if isinstance(context, InProcess):
        return Call(rpc, context, started=monotonic(), local=True, caller=context.carried)
    call = Call(rpc, context, started=monotonic())
    call.barrier = Barrier()
    return call


async def _begin(call: Call, context: Context) -> None:
    """Send the initial metadata: what the caller has left. Without this grpc.aio compresses no response."""
    try:
        await context.send_initial_metadata(call.spent.headers if call.spent is not None else ())
    except grpc.aio.UsageError:
        # The servicer has sent its own initial metadata, and with it the compression.
        return


def _ending(error: errors.MeshError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]:
    """The status code, the message and the trailing metadata of an error."""
    status = to_status(error)
    trailing: list[tuple[str, str | bytes]] = [(DETAILS_KEY, status.SerializeToString())]
    if error.facts.retry_after is not None:
        trailing.append((RETRY_KEY, str(max(1, round(error.facts.retry_after)))))
    return CODES[error.code], error.message, tuple(trailing)
