"""`POST /v1/messages`: a turn of ChatService.Chat, as one message or as a stream of its events."""

from collections.abc import AsyncIterable
from functools import partial
from typing import TYPE_CHECKING, Any

from soma.orchestrator.v1.chat_service_pb2 import ChatFinished, ChatResponse, ChatStarted

from gateway.edge.anthropic.answer import whole_message
from gateway.edge.anthropic.events import PING, Events
from gateway.edge.anthropic.failures import error_response
from gateway.edge.anthropic.request import Ask, read_message_request
from gateway.edge.anthropic.thoughts import Thoughts
from gateway.edge.disconnect import CancelOnDisconnect
from gateway.edge.media import Holder, held
from gateway.edge.metrics import FIRST_DELTA
from gateway.edge.relaying import cut, relayed
from gateway.edge.reply import Reply
from services.mesh.call.call import principal
from services.mesh.call.errors import MeshError
from services.mesh.call.spans import annotate
from services.mesh.transport.departure import Departure

if TYPE_CHECKING:
    from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceAsyncStub


class Messages:
    """Answers requests for messages from a ChatService."""

    def __init__(self, chat: "ChatServiceAsyncStub", blobs: Holder, thoughts: Thoughts, timeout: float) -> None:
        self._chat = chat
        self._blobs = blobs
        self._thoughts = thoughts
        self._timeout = timeout

    async def answer(self, body: bytes | bytearray, betas: str | None, departure: Departure, reply: Reply) -> None:
        """Answer one request; `betas` is its header `anthropic-beta`.

        Raises:
            MeshError: the request is wrong, the turn failed, or the client left (Cancelled).
        """
        ask = read_message_request(body, betas, self._thoughts)
        # A body with pictures is large, and the answer may take minutes.
        del body
        async with held(ask.inline, self._blobs, principal().tenant_id):
            rest = await self._answer(ask, departure, reply)
        if ask.stream:
            await reply.end(rest)
        else:
            await reply.json(200, rest)

    async def _answer(self, ask: Ask, departure: Departure, reply: Reply) -> bytes:
        """The answer, or what is not sent yet of a stream."""
        call = self._chat.Chat(ask.request, timeout=self._timeout)
        thoughts = self._thoughts if ask.thoughts else None
        try:
            async with CancelOnDisconnect(departure):
                if ask.stream:
                    return await _stream(call, ask, thoughts, reply)
                return await _collect(call, ask, thoughts)
        finally:
            call.cancel()


async def _stream(call: AsyncIterable[ChatResponse], ask: Ask, thoughts: Thoughts | None, reply: Reply) -> bytes:
    """Send events as they are known; return the last ones, which the caller sends.

    The status is sent with the first part of the answer: a model that fails before that gets an error status.
    """
    events: Events | None = None
    started = ChatStarted()
    opening = b""
    waiting = True
    async for event in call:
        kind = event.WhichOneof("payload")
        if kind == "error":
            raise relayed(event.error)
        if kind == "policy":
            continue
        if events is None:
            if kind == "started":
                started = event.started
                events = Events(started, thoughts)
                opening = events.begin()
            elif kind != "heartbeat":
                raise cut()
            continue
        if not reply.status:
            await reply.begin_events(partial(_failure, reply))
        if kind == "delta":
            if waiting:
                FIRST_DELTA.observe(reply.seconds)
                waiting = False
            if pieces := opening + events.delta(event.delta):
                await reply.event(pieces)
        elif kind == "heartbeat":
            await reply.event(opening + PING)
        elif kind == "finished":
            _annotate(ask, started, event.finished)
            return opening + events.last(event.finished)
        opening = b""
    raise cut()


async def _collect(call: AsyncIterable[ChatResponse], ask: Ask, thoughts: Thoughts | None) -> bytes:
    """The message of the whole answer, which comes in one event."""
    async for event in call:
        kind = event.WhichOneof("payload")
        if kind == "error":
            raise relayed(event.error)
        if kind == "answer":
            _annotate(ask, event.answer.started, event.answer.finished)
            return whole_message(event.answer, thoughts)
    raise cut()


def _failure(reply: Reply, error: MeshError) -> bytes:
    """The last event of a stream that failed."""
    return b"event: error\ndata: " + error_response(error, reply.request_id.decode()).body + b"\n\n"


def _annotate(ask: Ask, started: ChatStarted, finished: ChatFinished) -> None:
    """GenAI attributes by OpenTelemetry's semantic conventions."""
    attributes: dict[str, Any] = {
        "gen_ai__operation__name": "chat",
        "gen_ai__request__model": ask.request.model,
        "gen_ai__response__model": started.model,
        "gen_ai__response__id": started.chat_id,
        "gen_ai__usage__input_tokens": finished.usage.prompt_tokens,
        "gen_ai__usage__output_tokens": finished.usage.completion_tokens,
    }
    annotate(**attributes)
