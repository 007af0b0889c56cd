"""Answers one message of a session: a whole chat turn, and what it took."""

import time
from contextlib import aclosing
from typing import Protocol

from soma.errors.v1 import reasons
from soma.memory.v1 import memory_service_pb2
from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2
from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from services.mesh.call import errors
from services.orchestrator.chat.turn import Events
from services.orchestrator.logs.entry import SESSION, Task
from services.orchestrator.sessions.conversations import conversation_of
from services.orchestrator.sessions.store import Session


class TaskTurns(Protocol):
    """Takes turns that are part of a task."""

    def take(self, request: chat_service_pb2.ChatRequest, *, append_id: str = "", task: Task | None = None) -> Events:
        """See `Turns`."""
        ...


def task_of(session: pb.ChatSession) -> Task:
    """What a session's log entries are about."""
    return Task(session.id, SESSION, session.agent_id)


class Answering:
    """Turns the messages of sessions into chat turns."""

    def __init__(self, turns: TaskTurns) -> None:
        self._turns = turns

    async def answer(
        self, session: Session, request: pb.SendChatMessageRequest, append_id: str
    ) -> pb.SendChatMessageResponse:
        """The answer to a message; a message that comes again with the same `append_id` is remembered once.

        Raises:
            PermissionDenied, FailedPrecondition: policy says so.
            MeshError: a neighbour's failure, as it came.
        """
        began = time.perf_counter()
        answer = pb.SendChatMessageResponse(session_id=session.shown.id)
        took = answer.performance_metrics
        texts: list[str] = []
        turn = self._turns.take(_turn(session, request), append_id=append_id, task=task_of(session.shown))
        async with aclosing(turn) as events:
            async for event in events:
                kind = event.WhichOneof("payload")
                if kind == "started":
                    answer.message_id, answer.model = event.started.chat_id, event.started.model
                    took.context_length_chars = event.started.context_length_chars
                elif kind == "delta":
                    texts.append(event.delta.text)
                elif kind == "finished":
                    answer.response = "".join(texts)
                    answer.finish_reason = _lower(message_pb2.FinishReason.Name(event.finished.finish_reason))
                    _measure(took, event.finished, answer.model, time.perf_counter() - began)
                    return answer
        raise errors.Unavailable("the turn ended without its final event", reason=reasons.STREAM_CUT)


def shown_message(turn: memory_service_pb2.ConversationMessage) -> pb.ChatMessage:
    """A remembered turn as a session's message."""
    message = pb.ChatMessage(
        sequence=turn.sequence,
        role=message_pb2.Role.Name(turn.message.role).removeprefix("ROLE_").lower(),
        content=turn.message.content,
        timestamp=turn.create_time,
    )
    if turn.message.HasField("metadata"):
        message.metadata.CopyFrom(turn.message.metadata)
    return message


def _turn(session: Session, request: pb.SendChatMessageRequest) -> chat_service_pb2.ChatRequest:
    said = message_pb2.Message(role=message_pb2.ROLE_USER, content=request.message)
    if request.HasField("metadata"):
        said.metadata.CopyFrom(request.metadata)
    return chat_service_pb2.ChatRequest(
        model=request.model_name or session.shown.model_name,
        messages=(message_pb2.Message(role=message_pb2.ROLE_SYSTEM, content=session.instructions), said),
        conversation_id=conversation_of(session.shown.id),
        user=session.shown.user_id,
    )


def _measure(took: pb.PerformanceMetrics, finished: chat_service_pb2.ChatFinished, model: str, seconds: float) -> None:
    took.response_time_seconds = seconds
    took.prompt_eval_time_seconds = finished.time_to_first_token_seconds
    took.generation_time_seconds = max(0.0, finished.duration_seconds - finished.time_to_first_token_seconds)
    took.prompt_tokens = finished.usage.prompt_tokens
    took.response_tokens = finished.usage.completion_tokens
    took.total_tokens = finished.usage.total_tokens
    took.tokens_per_second = finished.tokens_per_second
    took.model_name = model
    took.timestamp.GetCurrentTime()


def _lower(finish_reason: str) -> str:
    return finish_reason.removeprefix("FINISH_REASON_").lower()
