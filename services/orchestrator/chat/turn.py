"""A chat turn, from the request of an authenticated caller to the last event.

The steps, in their order: policy checks the input, memory adds context, the model streams or answers in one piece,
policy checks each piece before it is released, and the finished turn is on its way to memory before the client gets the
last event. The model service writes the usage record, however the turn ends.
"""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from soma.errors.v1 import reasons
from soma.memory.v1 import memory_service_pb2
from soma.model.v1 import message_pb2, model_service_pb2
from soma.orchestrator.v1 import chat_service_pb2 as pb
from soma.policy.v1 import policy_service_pb2

from services.mesh.blobs.blobs import Blobs
from services.mesh.call import errors
from services.mesh.call.call import principal
from services.messages.message import text_of, texts_of, with_texts
from services.orchestrator.adapters.memory import Memory
from services.orchestrator.adapters.policy import Policy
from services.orchestrator.chat.checked_output import CheckedOutput
from services.orchestrator.chat.delivery import Delivery
from services.orchestrator.chat.generation import generation_of, without_instructions
from services.orchestrator.chat.history import checked_results, orphaned_results
from services.orchestrator.chat.reply import Reply
from services.orchestrator.chat.store import PendingTurn
from services.orchestrator.chat.structured_output import Generator
from services.orchestrator.media import hashes_of, held

Events = AsyncGenerator[pb.ChatResponse, None]

# The contract's limit on one AppendMessages.
_MESSAGES_AN_APPEND = 256
# This many characters fit memory's limit on a question (64 KiB); facts are looked up by the start of a message.
_QUESTION_CHARS = 16_384
# The memory contract's limit.
_LARGEST_BUDGET = 1_000_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a turn asks the model service.

    Attributes:
        new: the messages of the request, as policy lets a model have them.
        context: what memory adds; None when the request asks for nothing.
        decision: of policy on the input, if it was not to allow it unchanged.
    """

    new: Sequence[message_pb2.Message]
    context: memory_service_pb2.GetContextResponse | None
    generation: model_service_pb2.GenerateRequest
    decision: policy_service_pb2.EvaluateResponse | None


class TakesTurns(Protocol):
    """The interface of `Turns` and of what wraps it."""

    def take(self, request: pb.ChatRequest, *, append_id: str = "") -> Events:
        """Take one turn."""
        ...


class Turns:
    """Takes turns with the help of policy, memory and models."""

    def __init__(self, policy: Policy, memory: Memory, models: Generator, delivery: Delivery, blobs: Blobs) -> None:
        self._policy = policy
        self._memory = memory
        self._models = models
        self._delivery = delivery
        self._blobs = blobs

    async def take(self, request: pb.ChatRequest, *, append_id: str = "") -> Events:
        """The events of one turn without their numbers: started, deltas, finished; or one whole answer.

        Memory keeps only one of the turns that have the same `append_id` (a UUID). The request is changed: its media
        get hashes in place of bytes.

        Raises:
            PermissionDenied, FailedPrecondition: policy refuses the input.
            InvalidArgument: TOOL_CALL_NOT_FOUND: a result answers no call of the conversation.
            NotFound: MEDIA_NOT_FOUND: the tenant has no bytes with a hash of the request.
            MeshError: the error of a neighbour, unchanged.
        """
        reply = Reply(request)
        async with self.prepared(request, kept=bool(request.conversation_id)) as ready:
            new, context, generation = ready.new, ready.context, ready.generation
            notices = [_notice("input", ready.decision)] if ready.decision is not None else []
            length = sum(len(text_of(message)) for message in generation.messages)
            output = CheckedOutput(self._policy)
            async with aclosing(self._models.generate(generation)) as events:
                async for event in events:
                    kind = event.WhichOneof("payload")
                    if kind == "delta":
                        delta, decision = await output.check(event.delta)
                        if decision is not None:
                            yield pb.ChatResponse(policy=_notice("output", decision))
                        if delta is None:
                            yield pb.ChatResponse(finished=reply.withheld())
                            return
                        reply.add(delta)
                        yield pb.ChatResponse(delta=delta)
                    elif kind == "started":
                        output.resource = f"model:{event.started.model}"
                        yield pb.ChatResponse(started=reply.started(event.started, context, length))
                        for notice in notices:
                            yield pb.ChatResponse(policy=notice)
                    elif kind == "finished":
                        await self._remember(request, new, reply, append_id)
                        yield pb.ChatResponse(finished=reply.finished(event.finished))
                        return
                    elif kind == "answer":
                        whole = event.answer
                        output.resource = f"model:{whole.started.model}"
                        answer = pb.ChatAnswer(started=reply.started(whole.started, context, length), policy=notices)
                        delta, decision = await output.check(whole.delta)
                        if decision is not None:
                            answer.policy.append(_notice("output", decision))
                        if delta is None:
                            answer.finished.CopyFrom(reply.withheld(whole.finished.usage))
                        else:
                            if whole.HasField("delta"):
                                reply.add(delta, whole=True)
                                answer.delta.CopyFrom(delta)
                            await self._remember(request, new, reply, append_id)
                            answer.finished.CopyFrom(reply.finished(whole.finished))
                        yield pb.ChatResponse(answer=answer)
                        return
                    elif kind == "heartbeat":
                        yield pb.ChatResponse(heartbeat=event.heartbeat)
        raise errors.Unavailable("the model's stream ended without its final event", reason=reasons.STREAM_CUT)

    @asynccontextmanager
    async def prepared(self, request: pb.ChatRequest, *, kept: bool) -> AsyncIterator[Prepared]:
        """What a turn asks for; its bytes are held while the block runs. The request is changed, as by `take`.

        Args:
            kept: whether the turn is remembered at the end.

        Raises:
            MeshError: as `take`, before its first event.
        """
        async with held(self._blobs, principal().tenant_id, request.messages, kept=kept):
            new, decision = await self._check_input(request.messages, f"model:{request.model}")
            context = await self._context(request, new)
            if context is not None and request.conversation_id:
                new = checked_results([each.message for each in context.recent_messages], new, "messages")
            yield Prepared(new, context, generation_of(request, new, context), decision)

    async def _check_input(
        self, messages: Sequence[message_pb2.Message], resource: str
    ) -> tuple[list[message_pb2.Message], policy_service_pb2.EvaluateResponse | None]:
        """The messages as a model may get them, and the decision if it was not to allow them unchanged."""
        texts = [texts_of(message) for message in messages]
        checked, decision = await self._policy.check_input([text for each in texts for text in each], resource)
        if decision is None:
            return list(messages), None
        left = iter(checked)
        changed = [
            with_texts(message, list(islice(left, len(each)))) for message, each in zip(messages, texts, strict=True)
        ]
        return changed, decision

    async def _context(
        self, request: pb.ChatRequest, new: Sequence[message_pb2.Message]
    ) -> memory_service_pb2.GetContextResponse | None:
        """What memory adds; None when the request asks for nothing."""
        if not request.conversation_id and not request.HasField("strategy"):
            return None
        if request.conversation_id:
            tenant_id = principal().tenant_id
            await self._memory.patiently(lambda: self._delivery.settle(tenant_id, request.conversation_id))
        asked = next((text_of(message) for message in reversed(new) if message.role == message_pb2.ROLE_USER), "")
        question = memory_service_pb2.GetContextRequest(
            conversation_id=request.conversation_id,
            current_message=asked[:_QUESTION_CHARS],
            strategy=request.strategy if request.HasField("strategy") else memory_service_pb2.STRATEGY_HYBRID,
        )
        if request.HasField("context_token_budget"):
            question.token_budget = request.context_token_budget
        context = await self._memory.context(question)
        if request.conversation_id and orphaned_results([each.message for each in context.recent_messages], new):
            await self._add_calls(request.conversation_id, context)
        return context

    async def _add_calls(self, conversation_id: str, context: memory_service_pb2.GetContextResponse) -> None:
        """Replace the recent messages by those from the last tool calls on, which did not fit the context's budget."""
        question = memory_service_pb2.GetContextRequest(
            conversation_id=conversation_id,
            strategy=memory_service_pb2.STRATEGY_SHORT_ONLY,
            token_budget=_LARGEST_BUDGET,
        )
        recent = (await self._memory.context(question)).recent_messages
        last = max((place for place, each in enumerate(recent) if each.message.tool_calls), default=len(recent))
        del context.recent_messages[:]
        context.recent_messages.extend(recent[last:])

    async def _remember(
        self, request: pb.ChatRequest, new: Sequence[message_pb2.Message], reply: Reply, append_id: str
    ) -> None:
        """Send the turn to memory without its instructions."""
        if not request.conversation_id:
            return
        said = without_instructions(new)
        if (answer := reply.message()) is not None:
            said.append(answer)
        if not said:
            return
        first_id = uuid.UUID(append_id) if append_id else _append_id(request)
        for start in range(0, len(said), _MESSAGES_AN_APPEND):
            request_id = str(uuid.uuid5(first_id, str(start)) if start else first_id)
            append = memory_service_pb2.AppendMessagesRequest(
                conversation_id=request.conversation_id,
                messages=said[start : start + _MESSAGES_AN_APPEND],
                request_id=request_id,
            )
            await self._delivery.accept(
                PendingTurn(
                    request_id,
                    principal(),
                    request.conversation_id,
                    append.SerializeToString(),
                    frozenset(hashes_of(append.messages)),
                )
            )


def _append_id(request: pb.ChatRequest) -> uuid.UUID:
    """The same id for each repetition of a turn; a client's request id counts only within its conversation."""
    if not request.request_id:
        return uuid.uuid4()
    return uuid.uuid5(uuid.UUID(request.request_id), f"{principal().tenant_id}/{request.conversation_id}")


def _notice(stage: str, decision: policy_service_pb2.EvaluateResponse) -> pb.PolicyNotice:
    return pb.PolicyNotice(decision=decision.decision, stage=stage, matched_rules=decision.matched_rules)
