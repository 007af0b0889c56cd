"""One generation from its request to its usage record, whichever model runs it and however it ends."""

import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from time import monotonic, time

import structlog
from soma.errors.v1 import reasons
from soma.mesh.v1.stream_pb2 import Heartbeat
from soma.model.v1.cost_service_pb2 import UsageRecord
from soma.model.v1.message_pb2 import Usage
from soma.model.v1.model_service_pb2 import (
    GenerateRequest,
    GenerateResponse,
    GenerationFinished,
    GenerationStarted,
    TextDelta,
)

from services.mesh.call import errors
from services.mesh.call.call import current_call
from services.mesh.call.principal import Principal
from services.model import measures
from services.model.catalogue import Route
from services.model.ledger import Ledger
from services.model.mailbox import Mailbox
from services.model.tokens import estimate

_log = structlog.get_logger(__name__)

# Pieces that arrive within this many seconds of one another share a message.
MERGE_WINDOW = 0.005
# More than any model writes: what comes after it is a provider that does not stop.
LARGEST_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Tally:
    """What a generation has come to so far."""

    principal: Principal
    route: Route
    request: GenerateRequest
    generation_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    asked_at: float = field(default_factory=time)
    began: float = field(default_factory=monotonic)
    first: float = 0.0
    written_bytes: int = 0

    def count(self, text: str) -> None:
        """A piece of the answer arrived."""
        if not self.first:
            self.first = monotonic()
        self.written_bytes += len(text.encode())

    def usage(self) -> Usage:
        """Tokens by estimate: read as far as something was written, and written so far."""
        prompt = estimate(_texts(self.request))
        completion = -(-self.written_bytes // 4)
        return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)

    def close(self, finished: GenerationFinished) -> None:
        """Fill in the last event what only this process knows."""
        finished.duration_seconds = monotonic() - self.began
        finished.time_to_first_token_seconds = self.first - self.began if self.first else 0.0
        usage = finished.usage
        if not usage.prompt_tokens or (self.written_bytes and not usage.completion_tokens):
            self._complete(usage)

    def _complete(self, usage: Usage) -> None:
        """Estimate what the provider counted as nothing, or not at all; what it did count stays."""
        estimated = self.usage()
        usage.prompt_tokens = usage.prompt_tokens or estimated.prompt_tokens
        usage.completion_tokens = usage.completion_tokens or estimated.completion_tokens
        usage.total_tokens = usage.prompt_tokens + usage.completion_tokens
        provider, model = self.route.provider.name, self.route.model.name
        _log.info("usage_estimated", provider=provider, model=model, generation_id=self.generation_id)

    def record(self, outcome: "UsageRecord.Outcome.ValueType", usage: Usage, reason: str = "") -> UsageRecord:
        """The row of the ledger."""
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
    """Runs generations and records each."""

    def __init__(self, ledger: Ledger, heartbeat: float, largest: int = LARGEST_BYTES) -> None:
        self._ledger = ledger
        self._heartbeat = heartbeat
        self._largest = largest

    async def run(
        self, principal: Principal, route: Route, request: GenerateRequest, dropped: Sequence[str] = ()
    ) -> AsyncGenerator[GenerateResponse, None]:
        """Stream a generation: started, pieces, finished.

        `started` waits for the first piece (or a heartbeat's time), so that a provider that refuses is the call's
        own status. `finished` comes only after the usage record is durable, or kept because the store takes none
        now; nothing begins while that is known before. `dropped` are the fields the request
        no longer has because the provider cannot honour them.

        Raises:
            MeshError: the provider's failure, or the ledger's.
        """
        await self._ledger.admit()
        tally = Tally(principal, route, request)
        mailbox = Mailbox(route.provider.generate(request, route.model.name), MERGE_WINDOW)
        begun = settled = False
        try:
            while True:
                event = await mailbox.next(self._heartbeat)
                if isinstance(event, GenerationFinished):
                    tally.close(event)
                    settled = True
                    measures.ended(tally.route, "finished", event)
                    await self._ledger.record(tally.record(UsageRecord.OUTCOME_FINISHED, event.usage))
                elif event is not None:
                    tally.count(event.text if isinstance(event, TextDelta) else event.arguments)
                    if tally.written_bytes > self._largest:
                        raise _endless(route.provider.name, self._largest)
                if not begun:
                    begun = True
                    yield GenerateResponse(started=_started(tally, dropped))
                if event is None:
                    yield GenerateResponse(heartbeat=Heartbeat())
                elif isinstance(event, TextDelta):
                    yield GenerateResponse(delta=event)
                elif isinstance(event, GenerationFinished):
                    yield GenerateResponse(finished=event)
                    return
                else:
                    yield GenerateResponse(tool_call=event)
        except Exception as error:
            if not settled:
                settled = True
                self._failed(tally, error.reason if isinstance(error, errors.MeshError) else reasons.INTERNAL)
            raise
        finally:
            if not settled:
                self._left(tally)
            await mailbox.close()

    def _failed(self, tally: Tally, reason: str) -> None:
        measures.ended(tally.route, "failed")
        self._ledger.record_soon(tally.record(UsageRecord.OUTCOME_FAILED, tally.usage(), reason))

    def _left(self, tally: Tally) -> None:
        """The caller cancelled, or its time ran out."""
        call = current_call()
        if call is not None and call.remaining() == 0.0:
            self._failed(tally, errors.DeadlineExceeded.reason)
            return
        measures.ended(tally.route, "cancelled")
        self._ledger.record_soon(tally.record(UsageRecord.OUTCOME_CANCELLED, tally.usage()))


def _started(tally: Tally, dropped: Sequence[str]) -> GenerationStarted:
    return GenerationStarted(
        generation_id=tally.generation_id,
        model=tally.route.model.name,
        provider=tally.route.provider.name,
        dropped_params=dropped,
    )


def _endless(provider: str, largest: int) -> errors.Unavailable:
    said = f"{provider} wrote more than {largest} bytes and would not end"
    return errors.Unavailable(said, reason=reasons.PROVIDER_ENDLESS, metadata={"provider": provider})


def _texts(request: GenerateRequest) -> list[str]:
    texts = [source.text for source in request.sources]
    for message in request.messages:
        texts.append(message.content)
        texts.extend(call.arguments for call in message.tool_calls)
    texts.extend(tool.parameters + tool.description for tool in request.tools)
    return texts


async def joined(events: AsyncGenerator[GenerateResponse, None]) -> tuple[str, GenerationFinished]:
    """The text of a whole generation, and its last event."""
    texts: list[str] = []
    async with aclosing(events):
        async for event in events:
            if event.HasField("delta"):
                texts.append(event.delta.text)
            elif event.HasField("finished"):
                return "".join(texts), event.finished
    raise errors.Internal("a generation ended without its last event")
