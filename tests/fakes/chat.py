"""A fake of the chat service: a turn is the events a test gives, in one piece if it is asked for whole."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, TypeAlias

import grpc
from soma.mesh.v1.stream_pb2 import Heartbeat, StreamError
from soma.model.v1 import message_pb2 as model
from soma.orchestrator.v1 import chat_service_pb2 as pb
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceServicer
from soma.policy.v1 import policy_service_pb2 as policy

from services.mesh.call.barrier import before_answer
from services.mesh.call.call import Call, current_call
from services.mesh.call.errors import Code, Facts, relayed
from services.messages.answer import joined
from tests.fakes.fake import Fake

Step: TypeAlias = pb.ChatResponse | BaseException | asyncio.Event | asyncio.Future[None]
"""An event is sent, an exception raised, an `asyncio.Event` waited for; the client's answer waits for a future."""

USAGE = model.Usage(prompt_tokens=5, completion_tokens=2, total_tokens=7)


class FakeChat(Fake, ChatServiceServicer):
    """Takes turns.

    Attributes:
        script: what each turn does.
        requests: of all turns; `calls` are who called, in which trace and until when.
        metadata: that came with the latest, and `seconds_left` its time; 0 without a deadline.
        active: turns being taken; `sent` are the events they sent.
        begun: set once a turn has begun; `ended` once one is over or was left.
    """

    def __init__(self) -> None:
        super().__init__()
        self.active = 0
        self.reset(spoken("Hello", ", world"))

    def reset(self, script: Iterable[Step]) -> None:
        """Forget what came before."""
        self.script = script
        self.requests: list[pb.ChatRequest] = []
        self.calls: list[Call | None] = []
        self.metadata: dict[str, str | bytes] = {}
        self.seconds_left = 0.0
        self.sent = 0
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def Chat(self, request: pb.ChatRequest, context: Any) -> AsyncIterator[pb.ChatResponse]:
        self.requests.append(request)
        self.calls.append(current_call())
        self.metadata = dict(context.invocation_metadata() or ())
        self.seconds_left = context.time_remaining() or 0.0
        self.active += 1
        self.begun.set()
        try:
            await self.meet("chat")
            taken: list[pb.ChatResponse] = []
            for step in self.script:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, asyncio.Future):
                    await before_answer(step)
                elif request.options.whole and not step.HasField("heartbeat"):
                    taken.append(step)
                else:
                    yield step
                    self.sent += 1
            if taken and (answer := whole(taken)) is not None:
                yield answer
                self.sent += 1
        finally:
            self.active -= 1
            self.ended.set()


def whole(events: Iterable[pb.ChatResponse]) -> pb.ChatResponse | None:
    """The one event of a turn that is asked for whole; None when the turn has no last event.

    Raises:
        MeshError: the turn ends with an error.
    """
    answer = pb.ChatAnswer()
    deltas: list[model.Delta] = []
    for event in events:
        match event.WhichOneof("payload"):
            case "started":
                answer.started.CopyFrom(event.started)
            case "policy":
                answer.policy.append(event.policy)
            case "delta":
                deltas.append(event.delta)
            case "finished":
                answer.finished.CopyFrom(event.finished)
            case "error":
                failure = event.error
                facts = Facts(retry_after=failure.retry_after_seconds or None)
                raise relayed(Code(failure.code), failure.message, reason=failure.reason, facts=facts)
    if deltas:
        answer.delta.CopyFrom(joined(deltas))
    return pb.ChatResponse(answer=answer) if answer.HasField("finished") else None


def started(model_name: str = "plain", sources: Sequence[model.Source] = ()) -> pb.ChatResponse:
    """The event that opens a turn of the conversation `c1`."""
    opening = pb.ChatStarted(chat_id="t1", model=model_name, conversation_id="c1", sources=sources)
    return pb.ChatResponse(started=opening)


def delta(text: str) -> pb.ChatResponse:
    """A piece of text."""
    return pb.ChatResponse(delta=model.Delta(text=text))


def refused(text: str) -> pb.ChatResponse:
    """A piece of a refusal to answer."""
    return pb.ChatResponse(delta=model.Delta(text=text, refusal=True))


def tool_call(index: int, call_id: str = "", name: str = "", arguments: str = "") -> pb.ChatResponse:
    """A piece of a tool call."""
    piece = model.ToolCallDelta(index=index, call_id=call_id, name=name, arguments=arguments)
    return pb.ChatResponse(delta=model.Delta(tool_calls=[piece]))


def thought(index: int, text: str = "", **fields: str) -> pb.ChatResponse:
    """A piece of a thought; `fields` are its signature, redacted form and details."""
    piece = model.ReasoningDelta(index=index, text=text, **fields)
    return pb.ChatResponse(delta=model.Delta(reasoning=[piece]))


def heartbeat() -> pb.ChatResponse:
    """A sign of life."""
    return pb.ChatResponse(heartbeat=Heartbeat())


def noticed() -> pb.ChatResponse:
    """The event that says policy removed something from what was asked."""
    rule = policy.MatchedRule(rule_id="pii.email", decision=policy.DECISION_REDACT, reason="an address")
    return pb.ChatResponse(policy=pb.PolicyNotice(decision=policy.DECISION_REDACT, stage="input", matched_rules=[rule]))


def finished(
    reason: model.FinishReason.ValueType = model.FINISH_REASON_STOP, sources: Sequence[model.Source] = ()
) -> pb.ChatResponse:
    """The event that ends a turn: 5 tokens read, 2 written."""
    last = pb.ChatFinished(
        finish_reason=reason, usage=USAGE, time_to_first_token_seconds=0.25, duration_seconds=0.5, sources=sources
    )
    return pb.ChatResponse(finished=last)


def broken(code: grpc.StatusCode, reason: str) -> pb.ChatResponse:
    """The event that ends a stream which failed."""
    error = StreamError(code=code.value[0], status=code.name, reason=reason, message="it broke", retry_after_seconds=2)
    return pb.ChatResponse(error=error)


def spoken(*texts: str) -> list[Step]:
    """A whole turn that says `texts`; its answer quotes a fact."""
    return [started(), heartbeat(), *map(delta, texts), finished(sources=[model.Source(key="fact/1")])]
