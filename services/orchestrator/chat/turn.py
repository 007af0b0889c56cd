"""A chat turn: the steps of ARCHITECTURE's request path after authentication, in their order.

Policy on the input, memory's context, the model's stream, policy on each released piece, and the turn on its way to
memory. The usage record is the model service's; it exists however the turn ends.
"""

import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

from soma.errors.v1 import reasons
from soma.memory.v1 import memory_service_pb2
from soma.model.v1 import message_pb2, model_service_pb2
from soma.orchestrator.v1 import chat_service_pb2 as pb
from soma.policy.v1 import policy_service_pb2

from services.mesh.call import errors
from services.mesh.call.call import principal
from services.mesh.call.spans import annotate
from services.orchestrator.adapters.memory import Memory
from services.orchestrator.adapters.policy import Policy
from services.orchestrator.adapters.structured import Generator
from services.orchestrator.chat.answer import Answer
from services.orchestrator.chat.delivery import Delivery
from services.orchestrator.chat.history import continued
from services.orchestrator.chat.store import PendingTurn

Events = AsyncGenerator[pb.ChatResponse, None]

# The contract's limit on one AppendMessages.
_MESSAGES_AN_APPEND = 256
_NO_SOURCES: Sequence[message_pb2.Source] = ()


class TakesTurns(Protocol):
    """What `Turns` does, and those who stand before it."""

    def take(self, request: pb.ChatRequest, *, append_id: str = "") -> Events:
        """See `Turns`."""
        ...


class Turns:
    """Takes turns; every dependency is a neighbour behind its contract."""

    def __init__(self, policy: Policy, memory: Memory, models: Generator, delivery: Delivery) -> None:
        self._policy = policy
        self._memory = memory
        self._models = models
        self._delivery = delivery

    async def take(self, request: pb.ChatRequest, *, append_id: str = "") -> Events:
        """The events of one turn, unnumbered: started, deltas, finished.

        A turn that is taken again with the same `append_id` (a UUID) is remembered once.

        Raises:
            PermissionDenied, FailedPrecondition: policy says so.
            MeshError: a neighbour's failure, as it came.
        """
        began = time.perf_counter()
        resource = f"model:{request.model}"
        texts = [message.content for message in request.messages]
        admitted, decisions = await self._policy.admit(texts, resource)
        new = _with_contents(request.messages, admitted)
        context = await self._context(request, new)
        generation = _generation(request, new, context)
        answer = Answer()
        first_token: float | None = None
        async with aclosing(self._models.generate(generation)) as events:
            async for event in events:
                kind = event.WhichOneof("payload")
                if kind == "started":
                    resource = f"model:{event.started.model}"
                    yield _started(request, event.started, context, sum(len(m.content) for m in generation.messages))
                    for decision in decisions:
                        yield _notice("input", decision)
                elif kind == "delta" or kind == "tool_call":
                    text = event.delta.text if kind == "delta" else event.tool_call.arguments
                    redacted = False
                    released = await self._policy.release(text, resource) if text else None
                    if released is not None and released.decision != policy_service_pb2.DECISION_ALLOW:
                        yield _notice("output", released)
                        if released.decision != policy_service_pb2.DECISION_REDACT:
                            yield _withheld(began, first_token)
                            return
                        text = released.redacted_content
                        redacted = True
                    if first_token is None:
                        first_token = time.perf_counter()
                    if kind == "delta":
                        answer.add_text(text)
                        logprobs = () if redacted else event.delta.logprobs
                        yield pb.ChatResponse(
                            delta=pb.ChatDelta(text=text, logprobs=logprobs, refusal=event.delta.refusal)
                        )
                    else:
                        event.tool_call.arguments = text
                        answer.add_call(event.tool_call)
                        yield pb.ChatResponse(tool_call=event.tool_call)
                elif kind == "finished":
                    await self._keep(request, new, answer, append_id)
                    yield _finished(event.finished, began, first_token)
                    return
                elif kind == "heartbeat":
                    yield pb.ChatResponse(heartbeat=event.heartbeat)
        raise errors.Unavailable("the model's stream ended without its final event", reason=reasons.STREAM_CUT)

    async def _context(
        self, request: pb.ChatRequest, new: Sequence[message_pb2.Message]
    ) -> memory_service_pb2.GetContextResponse | None:
        if not request.conversation_id and not request.HasField("strategy"):
            return None
        if request.conversation_id:
            tenant_id = principal().tenant_id
            await self._memory.patiently(lambda: self._delivery.settle(tenant_id, request.conversation_id))
        asked = [m.content for m in new if m.role == message_pb2.ROLE_USER]
        question = memory_service_pb2.GetContextRequest(
            conversation_id=request.conversation_id,
            current_message=_head(asked[-1]) if asked else "",
            strategy=request.strategy if request.HasField("strategy") else memory_service_pb2.STRATEGY_HYBRID,
        )
        if request.HasField("context_token_budget"):
            question.token_budget = request.context_token_budget
        return await self._memory.context(question)

    async def _keep(
        self, request: pb.ChatRequest, new: Sequence[message_pb2.Message], answer: Answer, append_id: str
    ) -> None:
        """Remember what was said, instructions aside: they are the application's, turn by turn."""
        said = [m for m in new if m.role != message_pb2.ROLE_SYSTEM]
        if not request.conversation_id:
            return
        if not answer.empty:
            said.append(answer.message())
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
                PendingTurn(request_id, principal(), request.conversation_id, append.SerializeToString())
            )


def _append_id(request: pb.ChatRequest) -> uuid.UUID:
    """The same one for repetitions of a turn; ids that clients choose mean nothing outside of their conversation."""
    if not request.request_id:
        return uuid.uuid4()
    return uuid.uuid5(uuid.UUID(request.request_id), f"{principal().tenant_id}/{request.conversation_id}")


def _with_contents(messages: Sequence[message_pb2.Message], contents: Sequence[str]) -> list[message_pb2.Message]:
    """The messages with these contents; a message is copied only when its content changed."""
    result: list[message_pb2.Message] = []
    for message, content in zip(messages, contents, strict=True):
        if message.content != content:
            original, message = message, message_pb2.Message()
            message.CopyFrom(original)
            message.content = content
        result.append(message)
    return result


def _generation(
    request: pb.ChatRequest,
    new: Sequence[message_pb2.Message],
    context: memory_service_pb2.GetContextResponse | None,
) -> model_service_pb2.GenerateRequest:
    generation = model_service_pb2.GenerateRequest(
        model=request.model,
        tools=request.tools,
        conversation_id=request.conversation_id,
        user=request.user,
        drop_params=request.drop_params,
    )
    if context is None:
        generation.messages.extend(new)
    else:
        said = [m for m in new if m.role != message_pb2.ROLE_SYSTEM]
        generation.messages.extend(m for m in new if m.role == message_pb2.ROLE_SYSTEM)
        generation.messages.extend(continued([m.message for m in context.recent_messages], said))
        generation.messages.extend(said)
        generation.sources.extend(context.relevant_documents)
    if request.HasField("sampling"):
        generation.sampling.CopyFrom(request.sampling)
    if request.HasField("tool_choice"):
        generation.tool_choice.CopyFrom(request.tool_choice)
    if request.HasField("parallel_tool_calls"):
        generation.parallel_tool_calls = request.parallel_tool_calls
    if request.HasField("response_format"):
        generation.response_format.CopyFrom(request.response_format)
    return generation


def _started(
    request: pb.ChatRequest,
    started: model_service_pb2.GenerationStarted,
    context: memory_service_pb2.GetContextResponse | None,
    length: int,
) -> pb.ChatResponse:
    annotate(
        gen_ai__operation__name="chat",
        gen_ai__provider__name=started.provider,
        gen_ai__request__model=request.model or started.model,
        gen_ai__response__model=started.model,
        gen_ai__response__id=started.generation_id,
    )
    return pb.ChatResponse(
        started=pb.ChatStarted(
            chat_id=started.generation_id,
            model=started.model,
            conversation_id=request.conversation_id,
            remembered_messages=len(context.recent_messages) if context is not None else 0,
            sources=context.relevant_documents if context is not None else _NO_SOURCES,
            context_length_chars=length,
            dropped_params=started.dropped_params,
        )
    )


def _finished(
    finished: model_service_pb2.GenerationFinished, began: float, first_token: float | None
) -> pb.ChatResponse:
    now = time.perf_counter()
    usage = finished.usage
    annotate(gen_ai__usage__input_tokens=usage.prompt_tokens, gen_ai__usage__output_tokens=usage.completion_tokens)
    streaming = now - first_token if first_token is not None else 0.0
    return pb.ChatResponse(
        finished=pb.ChatFinished(
            finish_reason=finished.finish_reason,
            usage=usage,
            time_to_first_token_seconds=first_token - began if first_token is not None else 0.0,
            tokens_per_second=usage.completion_tokens / streaming if streaming > 0 else 0.0,
            duration_seconds=now - began,
            sources=finished.sources,
        )
    )


def _withheld(began: float, first_token: float | None) -> pb.ChatResponse:
    finished = model_service_pb2.GenerationFinished(finish_reason=message_pb2.FINISH_REASON_CONTENT_FILTER)
    return _finished(finished, began, first_token)


def _notice(stage: str, answer: policy_service_pb2.EvaluateResponse) -> pb.ChatResponse:
    return pb.ChatResponse(
        policy=pb.PolicyNotice(decision=answer.decision, stage=stage, matched_rules=answer.matched_rules)
    )


def _head(text: str) -> str:
    """The start of a text that fits memory's limit on a question (64 KiB); facts are looked for by its beginning."""
    return text if len(text) <= 16_384 else text[:16_384]
