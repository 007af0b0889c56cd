"""Turns of ChatService.Chat that answer a client's request, as one object or as a stream of chunks."""

import time
from contextlib import aclosing
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from soma.orchestrator.v1.chat_service_pb2 import ChatAnswer, ChatFinished, ChatStarted

from gateway.edge.disconnect import CancelOnDisconnect
from gateway.edge.media import Holder, held
from gateway.edge.metrics import FIRST_DELTA
from gateway.edge.openai.ask import Ask, Chunks
from gateway.edge.openai.choices import Indexed, merged, summed
from gateway.edge.openai.completion import DONE, KEEP_ALIVE
from gateway.edge.openai.extension import Findings
from gateway.edge.relaying import cut, relayed
from gateway.edge.reply import Reply
from services.mesh.call.call import principal
from services.mesh.call.spans import annotate
from services.mesh.transport.departure import Departure

if TYPE_CHECKING:
    from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceAsyncStub


class Turns:
    """Answers requests for completions from a ChatService."""

    def __init__(self, chat: "ChatServiceAsyncStub", blobs: Holder, timeout: float) -> None:
        self._chat = chat
        self._blobs = blobs
        self._timeout = timeout

    async def answer(self, ask: Ask, request_id: str, departure: Departure, reply: Reply) -> None:
        """Answer one request; `request_id` is the same for its repetitions.

        Raises:
            MeshError: a turn failed, or the client left (Cancelled).
        """
        ask.request.request_id = request_id
        async with held(ask.inline, self._blobs, principal().tenant_id):
            rest = await self._answer(ask, departure, reply)
        if ask.stream:
            await reply.end(rest)
        else:
            await reply.json(200, rest)

    async def _answer(self, ask: Ask, departure: Departure, reply: Reply) -> bytes:
        """The answer, or what is not sent yet of a stream."""
        calls = [self._chat.Chat(each, timeout=self._timeout) for each in ask.turns()]
        try:
            async with CancelOnDisconnect(departure), aclosing(merged(calls)) as events:
                return await (_stream(events, ask, reply) if ask.stream else _collect(events, ask))
        finally:
            for call in calls:
                call.cancel()


async def _stream(events: Indexed, ask: Ask, reply: Reply) -> bytes:
    """Send chunks as the events arrive; return the last chunks, which the caller sends.

    The status is sent with the first part of the answer: a model that fails before that gets an error status. Chunks
    that are known together are sent together, because each send costs a system call and work of the gateway.
    """
    answer = _Answer(ask)
    chunks: Chunks | None = None
    begun = [False] * ask.choices
    waiting = True
    async for index, event in events:
        kind = event.WhichOneof("payload")
        if chunks is None or kind in ("started", "policy", "error"):
            if answer.note(kind, event) and chunks is None:
                chunks = ask.form.chunks(answer.identity, ask.choices, ask.include_usage)
            continue
        if not reply.status:
            await reply.begin_events()
        opening = b"" if begun[index] else chunks.first(index)
        begun[index] = True
        if kind == "delta":
            if waiting:
                FIRST_DELTA.observe(reply.seconds)
                waiting = False
            if pieces := opening + chunks.delta(index, event.delta):
                await reply.event(pieces)
        elif kind == "heartbeat":
            await reply.event(opening + KEEP_ALIVE)
        elif kind == "finished":
            whole = answer.finish(index, event.finished)
            last = chunks.last(index, event.finished.finish_reason, answer.findings.content() if whole else None)
            if whole:
                usage = chunks.usage(answer.usage()) if ask.include_usage else b""
                return opening + last + usage + DONE
            await reply.event(opening + last)
    raise cut()


async def _collect(events: Indexed, ask: Ask) -> bytes:
    """The object of the whole answer; each of its choices comes in one event."""
    answer = _Answer(ask)
    choices: dict[int, dict[str, Any]] = {}
    async for index, event in events:
        kind = event.WhichOneof("payload")
        if kind != "answer":
            answer.note(kind, event)
            continue
        one: ChatAnswer = event.answer
        answer.findings.notices.extend(one.policy)
        answer.start(one.started)
        choices[index] = ask.form.choice(index, one)
        if answer.finish(index, one.finished):
            found = [choices[number] for number in range(ask.choices)]
            return ask.form.whole(answer.identity, found, answer.usage(), answer.findings.content())
    raise cut()


class _Answer:
    """The facts about an answer, apart from its text."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.started: ChatStarted | None = None
        self.identity: dict[str, Any] = {}
        self._finished: dict[int, ChatFinished] = {}
        self.findings = Findings(ask.extension, list(ask.dropped))

    def note(self, kind: str | None, event: Any) -> bool:
        """Note an event that is not part of the text; return whether it began the answer.

        Raises:
            MeshError: the event is an error, or the answer had to begin with another event.
        """
        if kind == "error":
            raise relayed(event.error)
        if kind == "policy":
            self.findings.notices.append(event.policy)
        elif kind == "started":
            self.start(event.started)
            return True
        elif kind != "heartbeat":
            raise cut()
        return False

    def start(self, started: ChatStarted) -> None:
        """Note that a choice began; the first one to begin gives the answer its id and its model."""
        if self.started is None:
            self.started = started
            self.identity = _identity(self._ask.form.prefix, started)
            self.findings.sources = started.sources
        self.findings.drop(started.dropped_params)

    def finish(self, index: int, finished: ChatFinished) -> bool:
        """Note that a choice ended; return whether it was the last one."""
        self._finished[index] = finished
        if finished.sources:
            self.findings.sources = finished.sources
        whole = len(self._finished) == self._ask.choices
        if whole and self.started is not None:
            _annotate(self._ask, self.started, self)
        return whole

    def usage(self) -> Any:
        """The usage of all choices."""
        return summed(
            [finished.usage for _, finished in sorted(self._finished.items(), key=itemgetter(0))], self._ask.each
        )


def _identity(prefix: str, started: ChatStarted) -> dict[str, Any]:
    return {"id": prefix + started.chat_id, "created": int(time.time()), "model": started.model}


def _annotate(ask: Ask, started: ChatStarted, answer: _Answer) -> None:
    """GenAI attributes by OpenTelemetry's semantic conventions."""
    usage = answer.usage()
    annotate(
        gen_ai__operation__name="chat",
        gen_ai__request__model=ask.request.model,
        gen_ai__response__model=started.model,
        gen_ai__response__id=started.chat_id,
        gen_ai__usage__input_tokens=usage.prompt_tokens,
        gen_ai__usage__output_tokens=usage.completion_tokens,
    )
