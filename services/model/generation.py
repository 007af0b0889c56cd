"""Runs a generation, from its request to its usage record, with any model and any ending."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from time import monotonic, time

import structlog
from soma.errors.v1 import reasons
from soma.mesh.v1.stream_pb2 import Heartbeat
from soma.model.v1.cost_service_pb2 import UsageRecord
from soma.model.v1.message_pb2 import Delta, Usage
from soma.model.v1.model_service_pb2 import (
    GenerateRequest,
    GenerateResponse,
    GenerationAnswer,
    GenerationFinished,
    GenerationStarted,
)

from services.mesh.call import errors
from services.mesh.call.barrier import before_answer
from services.mesh.call.call import current_call
from services.mesh.call.principal import Principal
from services.mesh.wakeup import Wakeup
from services.messages.answer import is_text, joined
from services.model import metrics
from services.model.allowed_tools import check_calls
from services.model.catalogue import Route
from services.model.event_buffer import EventBuffer
from services.model.ledger import Ledger
from services.model.tokens import estimated_prompt

_log = structlog.get_logger(__name__)

# Pieces that arrive within this many seconds are sent in one message.
MERGE_WINDOW = 0.005
# More than any model writes. A provider that sends more does not stop by itself.
LARGEST_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Tally:
    """The state of a running generation: its times, and the size of its text."""

    principal: Principal
    route: Route
    request: GenerateRequest
    generation_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    asked_at: float = field(default_factory=time)
    began: float = field(default_factory=monotonic)
    first: float = 0.0
    written_bytes: int = 0

    def count(self, piece: Delta) -> None:
        """Count a piece of the answer."""
        if not self.first:
            self.first = monotonic()
        self.written_bytes += len(piece.text.encode())
        if is_text(piece):
            return
        for thought in piece.reasoning:
            self.written_bytes += len(thought.text.encode()) + len(thought.redacted) + len(thought.details)
        for call in piece.tool_calls:
            self.written_bytes += len(call.arguments.encode())

    def usage(self) -> Usage:
        """The estimated tokens of the request and of the text so far."""
        prompt = estimated_prompt(self.request)
        completion = -(-self.written_bytes // 4)
        return Usage(
            prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion, estimated=True
        )

    def close(self, finished: GenerationFinished) -> None:
        """Add the times and the missing counts to the final event."""
        finished.duration_seconds = monotonic() - self.began
        finished.time_to_first_token_seconds = self.first - self.began if self.first else 0.0
        usage = finished.usage
        if not usage.prompt_tokens or (self.written_bytes and not usage.completion_tokens):
            self._complete(usage)

    def _complete(self, usage: Usage) -> None:
        """Estimate the counts that the provider did not report; the reported ones stay."""
        estimated = self.usage()
        usage.prompt_tokens = usage.prompt_tokens or estimated.prompt_tokens
        usage.completion_tokens = usage.completion_tokens or estimated.completion_tokens
        usage.total_tokens = usage.prompt_tokens + usage.completion_tokens
        usage.estimated = True
        provider, model = self.route.provider.name, self.route.model.name
        _log.info("usage_estimated", provider=provider, model=model, generation_id=self.generation_id)

    def record(self, outcome: "UsageRecord.Outcome.ValueType", usage: Usage, reason: str = "") -> UsageRecord:
        """The usage record of the generation."""
        record = UsageRecord(
            generation_id=self.generation_id,
            tenant_id=self.principal.tenant_id,
            subject=self.principal.subject,
            model=self.route.model.name,
            provider=self.route.provider.name,
            outcome=outcome,
            error_reason=reason,
            usage=usage,
            conversation_id=self.request.conversation_id,
            duration_seconds=monotonic() - self.began,
            time_to_first_token_seconds=self.first - self.began if self.first else 0.0,
        )
        record.start_time.FromMicroseconds(int(self.asked_at * 1e6))
        return record


class Generations:
    """Runs generations, and records each of them."""

    def __init__(self, ledger: Ledger, heartbeat: float, largest: int = LARGEST_BYTES) -> None:
        self._ledger = ledger
        self._heartbeat = heartbeat
        self._largest = largest

    def run(
        self, principal: Principal, route: Route, request: GenerateRequest, dropped: Sequence[str] = ()
    ) -> AsyncGenerator[GenerateResponse, None]:
        """Stream a generation: started, pieces, finished; with `options.whole` one event has them all.

        `started` is sent with the first piece (or heartbeat), so that the refusal of a provider becomes the status of
        the call. `finished` leaves the process when the usage record is durable, or when it waits in memory because the
        store is unavailable. While records wait, no generation begins. `dropped` are the fields that were removed from
        the request because the provider does not support them.

        Raises:
            MeshError: the provider's failure, or the ledger's.
        """
        tally = Tally(principal, route, request)
        return self._whole(tally, dropped) if request.options.whole else self._streamed(tally, dropped)

    async def _streamed(self, tally: Tally, dropped: Sequence[str]) -> AsyncGenerator[GenerateResponse, None]:
        """Started, pieces, finished."""
        await self._ledger.admit()
        route, request = tally.route, tally.request
        buffer = EventBuffer(route.provider.generate(request, route.model.name), MERGE_WINDOW)
        begun = settled = False
        try:
            while True:
                event = await buffer.next(self._heartbeat)
                if isinstance(event, GenerationFinished):
                    settled = True
                    await self._finish(tally, event)
                elif event is not None:
                    self._count(tally, event)
                if not begun:
                    begun = True
                    yield GenerateResponse(started=_started(tally, dropped))
                if event is None:
                    yield GenerateResponse(heartbeat=Heartbeat())
                elif isinstance(event, GenerationFinished):
                    yield GenerateResponse(finished=event)
                    return
                else:
                    yield GenerateResponse(delta=event)
        except BaseException as error:
            if not settled:
                self._interrupted(tally, error)
            raise
        finally:
            await buffer.close()

    async def _whole(self, tally: Tally, dropped: Sequence[str]) -> AsyncGenerator[GenerateResponse, None]:
        """One event with the answer; heartbeats before it."""
        await self._ledger.admit()
        wakeup = Wakeup(asyncio.get_running_loop())
        work = asyncio.create_task(self._collect(tally, wakeup))
        settled = False
        try:
            while not work.done():
                if not await wakeup.wait(self._heartbeat):
                    yield GenerateResponse(heartbeat=Heartbeat())
            pieces, finished = work.result()
            settled = True
            await self._finish(tally, finished)
            delta = joined(pieces) if pieces else None
            if delta is not None and not delta.refusal:
                delta.refusal = any(piece.refusal for piece in pieces)
            answer = GenerationAnswer(started=_started(tally, dropped), delta=delta, finished=finished)
            yield GenerateResponse(answer=answer)
        except BaseException as error:
            if not settled:
                self._interrupted(tally, error)
            raise
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait((work,))
            wakeup.close()

    async def _collect(self, tally: Tally, wakeup: Wakeup) -> tuple[list[Delta], GenerationFinished]:
        """All pieces of an answer, and its final event; wakes `wakeup` at the end."""
        pieces: list[Delta] = []
        try:
            async with aclosing(tally.route.provider.generate(tally.request, tally.route.model.name)) as events:
                async for event in events:
                    if isinstance(event, GenerationFinished):
                        return pieces, event
                    self._count(tally, event)
                    pieces.append(event)
        finally:
            # The task has ended when the woken one runs, unless it was cancelled before it began.
            wakeup.wake()
        raise errors.Internal("a provider ended without its last event")

    def _count(self, tally: Tally, piece: Delta) -> None:
        """Count a piece of the answer.

        Raises:
            Unavailable: the answer is longer than any model writes.
            Internal: the model calls a tool that it may not call.
        """
        if piece.tool_calls and tally.request.options.tool_choice.allowed:
            check_calls(tally.request.options, piece, tally.route.provider.name)
        tally.count(piece)
        if tally.written_bytes > self._largest:
            raise _endless(tally.route.provider.name, self._largest)

    async def _finish(self, tally: Tally, finished: GenerationFinished) -> None:
        """Complete the final event, and record the generation: no client gets the event before that is durable."""
        tally.close(finished)
        metrics.record_end(tally.route, "finished", finished)
        await before_answer(self._ledger.record(tally.record(UsageRecord.OUTCOME_FINISHED, finished.usage)))

    def _interrupted(self, tally: Tally, error: BaseException) -> None:
        """Record a generation that ended before its final event: it failed, or its caller left."""
        if isinstance(error, Exception):
            self._failed(tally, error.reason if isinstance(error, errors.MeshError) else reasons.INTERNAL)
        else:
            self._cancelled(tally)

    def _failed(self, tally: Tally, reason: str) -> None:
        metrics.record_end(tally.route, "failed")
        self._ledger.record_soon(tally.record(UsageRecord.OUTCOME_FAILED, tally.usage(), reason))

    def _cancelled(self, tally: Tally) -> None:
        """Record a generation whose caller cancelled, or whose deadline passed."""
        call = current_call()
        if call is not None and call.remaining() == 0.0:
            self._failed(tally, errors.DeadlineExceeded.reason)
            return
        metrics.record_end(tally.route, "cancelled")
        self._ledger.record_soon(tally.record(UsageRecord.OUTCOME_CANCELLED, tally.usage()))


def _started(tally: Tally, dropped: Sequence[str]) -> GenerationStarted:
    return GenerationStarted(
        generation_id=tally.generation_id,
        model=tally.route.model.name,
        provider=tally.route.provider.name,
        dropped_params=dropped,
    )


def _endless(provider: str, largest: int) -> errors.Unavailable:
    message = f"{provider} wrote more than {largest} bytes and did not end"
    return errors.Unavailable(message, reason=reasons.PROVIDER_ENDLESS, metadata={"provider": provider})


async def answer_of(events: AsyncGenerator[GenerateResponse, None]) -> GenerationAnswer:
    """The answer of a generation with `options.whole`."""
    async with aclosing(events):
        async for event in events:
            if event.HasField("answer"):
                return event.answer
    raise errors.Internal("a generation ended without its answer")
