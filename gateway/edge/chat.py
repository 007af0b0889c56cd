"""`POST /v1/chat/completions`: one turn of ChatService.Chat, as one object or as a stream of chunks."""

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from soma.mesh.v1.stream_pb2 import StreamError
from soma.orchestrator.v1.chat_service_pb2 import ChatFinished, ChatResponse, ChatStarted
from starlette.types import Receive

from gateway.edge.chat_request import Ask, read_chat_request
from gateway.edge.completion import DONE, KEEP_ALIVE, Chunks, completion, sources_extension
from gateway.edge.departure import Departure
from gateway.edge.metrics import FIRST_DELTA
from gateway.edge.reply import Reply
from gateway.edge.toolcalls import ToolCalls
from services.mesh.errors import Code, Facts, MeshError, Relayed, Unavailable
from services.mesh.spans import annotate

if TYPE_CHECKING:
    from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceAsyncStub

Events = AsyncIterator[ChatResponse]


class ChatCompletions:
    """Answers chat completion requests from a ChatService."""

    def __init__(self, chat: "ChatServiceAsyncStub", timeout: float) -> None:
        self._chat = chat
        self._timeout = timeout

    async def answer(self, body: bytes | bytearray, receive: Receive, reply: Reply) -> None:
        """Answer one request.

        Raises:
            MeshError: the request is wrong, the turn failed, or the client left (Cancelled).
            AioRpcError: the turn failed in another service.
        """
        ask = read_chat_request(body)
        call = self._chat.Chat(ask.request, timeout=self._timeout)
        try:
            async with Departure(receive):
                events = aiter(call)
                started = await _started(events)
                answer = _stream(events, started, ask, reply) if ask.stream else _collect(events, started, ask)
                rest = await answer
        finally:
            call.cancel()
        # Sent when nobody waits on `receive` any more: a server may report an ended answer as a disconnect.
        if ask.stream:
            await reply.end(rest)
        else:
            await reply.json(200, rest)


async def _stream(events: Events, started: ChatStarted, ask: Ask, reply: Reply) -> bytes:
    """Send chunks as the events come; the last ones, which say why the answer ended, are for the caller to send.

    The status waits for the first sign of an answer: until then a failing model has a status of its own. Chunks that
    are known together are sent together: each sending is a system call, and the gateway's work.
    """
    chunks = Chunks(_identity(started), include_usage=ask.include_usage)
    opening = chunks.first()
    waiting = True
    async for event in events:
        kind = event.WhichOneof("payload")
        if kind == "policy":
            continue
        if kind == "error":
            raise _relayed(event.error)
        if not reply.status:
            await reply.begin_events()
        else:
            opening = b""
        if kind == "delta":
            if waiting:
                FIRST_DELTA.observe(reply.seconds)
                waiting = False
            await reply.event(opening + chunks.text(event.delta.text))
        elif kind == "tool_call":
            await reply.event(opening + chunks.tool_call(event.tool_call))
        elif kind == "heartbeat":
            await reply.event(opening + KEEP_ALIVE)
        elif kind == "finished":
            last = chunks.last(event.finished.finish_reason, _extension(ask, started, event.finished))
            usage = chunks.usage(event.finished.usage) if ask.include_usage else b""
            _annotate(ask, started, event.finished)
            return opening + last + usage + DONE
    raise _cut()


async def _collect(events: Events, started: ChatStarted, ask: Ask) -> bytes:
    """The completion object, once the answer is whole."""
    pieces: list[str] = []
    calls = ToolCalls()
    async for event in events:
        kind = event.WhichOneof("payload")
        if kind == "delta":
            pieces.append(event.delta.text)
        elif kind == "tool_call":
            calls.add(event.tool_call)
        elif kind == "finished":
            finished = event.finished
            _annotate(ask, started, finished)
            return completion(
                _identity(started),
                "".join(pieces),
                calls.whole(),
                finished.finish_reason,
                finished.usage,
                _extension(ask, started, finished),
            )
        elif kind == "error":
            raise _relayed(event.error)
    raise _cut()


async def _started(events: Events) -> ChatStarted:
    """The event that opens a turn."""
    async for event in events:
        kind = event.WhichOneof("payload")
        if kind == "started":
            return event.started
        if kind == "error":
            raise _relayed(event.error)
        if kind != "heartbeat":
            break
    raise _cut()


def _identity(started: ChatStarted) -> dict[str, Any]:
    return {"id": f"chatcmpl-{started.chat_id}", "created": int(time.time()), "model": started.model}


def _extension(ask: Ask, started: ChatStarted, finished: ChatFinished) -> dict[str, Any] | None:
    """What only this mesh has to say, for a client that asked: the sources quoted, else those brought in."""
    if not ask.include_sources:
        return None
    return sources_extension(finished.sources or started.sources)


def _relayed(error: StreamError) -> MeshError:
    facts = Facts(retry_after=error.retry_after_seconds or None)
    known = 1 <= error.code <= Code.UNAUTHENTICATED
    return Relayed(Code(error.code) if known else Code.UNKNOWN, error.message, reason=error.reason, facts=facts)


def _cut() -> MeshError:
    return Unavailable("The answer was cut off before its end.", reason="STREAM_CUT")


def _annotate(ask: Ask, started: ChatStarted, finished: ChatFinished) -> None:
    """GenAI attributes by OpenTelemetry's semantic conventions."""
    annotate(
        gen_ai__operation__name="chat",
        gen_ai__request__model=ask.request.model,
        gen_ai__response__model=started.model,
        gen_ai__response__id=started.chat_id,
        gen_ai__usage__input_tokens=finished.usage.prompt_tokens,
        gen_ai__usage__output_tokens=finished.usage.completion_tokens,
    )
