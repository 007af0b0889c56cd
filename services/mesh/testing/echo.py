"""The EchoService of the contract suite and the benchmarks: one servicer that does what each call's Script says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1 import echo_service_pb2_grpc as rpc

from services.mesh.call import errors
from services.mesh.call.call import current_call

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Pairs: TypeAlias = tuple[tuple[str, str | bytes], ...]


class Breakdown(Exception):
    """The exception of a scripted `raise`: nobody expects it, and no caller may see its text."""


@dataclass
class Tally:
    """Counts what happens inside the servicer, which a caller cannot see.

    Attributes:
        served: calls that reached it.
        running: calls being served.
        cancelled: calls that ended in cancellation.
        context_cancelled: those of them whose context reported the cancellation.
        peer: address the latest call came from.
        metadata_keys: keys of its metadata.
        sent: responses handed to the transport.
        received: requests taken from it.
        cut: uploads whose requests ended without the one marked `last`.
    """

    served: int = 0
    running: int = 0
    cancelled: int = 0
    context_cancelled: int = 0
    peer: str = ""
    metadata_keys: tuple[str, ...] = ()
    sent: int = 0
    received: int = 0
    cut: int = 0

    @contextmanager
    def visit(self, context: Context) -> Iterator[Pairs]:
        """Count one call while it is served; gives its metadata, of which gRPC makes new pairs each time it is asked.

        Nothing keeps the context, because on a socket it is invalid after the call.
        """
        self.served += 1
        self.running += 1
        self.peer = context.peer()
        metadata = tuple(context.invocation_metadata() or ())
        self.metadata_keys = tuple(key for key, _ in metadata)
        try:
            yield metadata
        except (asyncio.CancelledError, GeneratorExit):
            # GeneratorExit is how a stream's servicer that was suspended at a `yield` learns of it.
            self.cancelled += 1
            self.context_cancelled += context.cancelled()
            raise
        finally:
            self.running -= 1


class EchoServicer(rpc.EchoServiceServicer):
    """soma.testing.v1.EchoService.

    Args:
        peer: gives the stub that further hops are called on.
    """

    def __init__(self, peer: "Callable[[], rpc.EchoServiceAsyncStub] | None" = None) -> None:
        self.tally = Tally()
        self._peer = peer

    async def Echo(self, request: pb.EchoRequest, context: Context) -> pb.EchoResponse:
        with self.tally.visit(context) as metadata:
            observed = observe(context, metadata)
            await self._pause(request.script)
            if request.script.hops:
                return await self._hop(request)
            _fail(request.script)
            await reflect(context, metadata)
            return pb.EchoResponse(text=request.text, observation=observed, padding=bytes(request.script.padding_bytes))

    async def StreamEcho(self, request: pb.StreamEchoRequest, context: Context) -> AsyncIterator[pb.StreamEchoResponse]:
        with self.tally.visit(context) as metadata:
            script = request.script
            observed = observe(context, metadata)
            await reflect(context, metadata)
            await self._begin(script, streaming=True)
            for number in range(script.count or 1):
                self._fail_at(script, number)
                if number and script.interval_seconds:
                    await asyncio.sleep(script.interval_seconds)
                self.tally.sent += 1
                yield pb.StreamEchoResponse(
                    text=request.text,
                    observation=observed if number == 0 else None,
                    padding=bytes(script.padding_bytes),
                )
            self._fail_at(script, script.count or 1)

    async def CollectEchoes(
        self, request_iterator: AsyncIterator[pb.CollectEchoesRequest], context: Context
    ) -> pb.CollectEchoesResponse:
        with self.tally.visit(context) as metadata:
            observed = observe(context, metadata)
            texts: list[str] = []
            complete = False
            async for request in request_iterator:
                self.tally.received += 1
                if not texts:
                    await self._begin(request.script)
                if request.script.interval_seconds:
                    await asyncio.sleep(request.script.interval_seconds)
                texts.append(request.text)
                complete = request.last
            self.tally.cut += not complete
            return pb.CollectEchoesResponse(
                count=len(texts), text="".join(texts), complete=complete, observation=observed
            )

    async def ChatEchoes(
        self, request_iterator: AsyncIterator[pb.ChatEchoesRequest], context: Context
    ) -> AsyncIterator[pb.ChatEchoesResponse]:
        with self.tally.visit(context) as metadata:
            observed = observe(context, metadata)
            script = pb.Script()
            number = 0
            async for request in request_iterator:
                self.tally.received += 1
                if number == 0:
                    script = request.script
                    await self._begin(script, streaming=True)
                self._fail_at(script, number)
                self.tally.sent += 1
                yield pb.ChatEchoesResponse(
                    text=request.text,
                    observation=observed if number == 0 else None,
                    padding=bytes(script.padding_bytes),
                )
                number += 1
                if script.count and number == script.count:
                    return

    async def _begin(self, script: pb.Script, *, streaming: bool = False) -> None:
        await self._pause(script)
        if not (streaming and script.fail_after):
            _fail(script)

    async def _pause(self, script: pb.Script) -> None:
        if script.delay_seconds:
            await asyncio.sleep(script.delay_seconds)

    def _fail_at(self, script: pb.Script, number: int) -> None:
        if script.fail_after and number == script.fail_after:
            _fail(script)

    async def _hop(self, request: pb.EchoRequest) -> pb.EchoResponse:
        if self._peer is None:
            raise errors.FailedPrecondition("this servicer has no peer to hop to")
        onward = pb.EchoRequest()
        onward.CopyFrom(request)
        onward.script.hops -= 1
        return await self._peer().Echo(onward)


def observe(context: Context, metadata: Pairs) -> pb.Observation:
    """What the servicer sees of its call."""
    remaining = context.time_remaining()
    call = current_call()
    return pb.Observation(
        metadata=[f"{key}={_text(value)}" for key, value in metadata if key.startswith("x-test-")],
        time_remaining_seconds=-1 if remaining is None else remaining,
        trace_id=call.trace_id if call else "",
        subject=call.principal.subject if call and call.principal else "",
    )


async def reflect(context: Context, metadata: Pairs) -> None:
    """Send metadata `x-test-initial` back as initial and `x-test-trailing` back as trailing metadata."""
    initial = tuple(pair for pair in metadata if pair[0].startswith("x-test-initial"))
    if initial:
        await context.send_initial_metadata(initial)
    trailing = tuple(pair for pair in metadata if pair[0].startswith("x-test-trailing"))
    if trailing:
        context.set_trailing_metadata(trailing)


def _fail(script: pb.Script) -> None:
    if getattr(script, "raise"):
        raise Breakdown(script.fail_message)
    if script.fail_code:
        code = errors.Code(script.fail_code)
        violations = (errors.FieldViolation("script", "asked to fail"),)
        facts = errors.Facts({"scripted": "yes"}, script.retry_after_seconds or None, violations)
        raise errors.relayed(code, script.fail_message, reason=code.name, facts=facts)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.hex()
