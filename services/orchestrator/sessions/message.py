"""The messages of sessions: each is answered once for its request id, counted, and listed."""

import time
import uuid
from contextlib import aclosing

from soma.errors.v1 import reasons
from soma.memory.v1 import memory_service_pb2
from soma.model.v1 import message_pb2
from soma.model.v1.options_pb2 import GenerationOptions
from soma.orchestrator.v1 import chat_service_pb2
from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from services.mesh.call import errors
from services.mesh.call.call import current_call
from services.mesh.call.principal import Principal
from services.messages.message import text_of
from services.orchestrator.logs.turn_log import LoggedTurns
from services.orchestrator.sessions.conversation import Conversations, conversation_of
from services.orchestrator.sessions.session import check_active, check_etag, require_session, session_not_found, task_of
from services.orchestrator.sessions.store import PostgresSessions, Session

# The longest time a caller without a deadline holds a request id; after a crash it is free again by then.
CLAIM_SECONDS = 600.0
CLAIM_MARGIN_SECONDS = 5.0
# The time after which a caller may ask again for a message that is being answered.
RETRY_SECONDS = 2.0

WITHHELD = "content_filter"


class Messages:
    """Sends the messages of sessions to a model, and lists them with their answers."""

    def __init__(self, sessions: PostgresSessions, turns: LoggedTurns, conversations: Conversations) -> None:
        self._sessions = sessions
        self._turns = turns
        self._conversations = conversations

    async def send(self, owner: Principal, request: pb.SendChatMessageRequest) -> pb.SendChatMessageResponse:
        """Answer a message.

        Raises:
            NotFound: there is no such session.
            Aborted: the session has another etag, or the same request is being answered.
            FailedPrecondition: the session is not active.
            MeshError: the turn failed; nothing of it is stored.
        """
        session = await require_session(self._sessions, owner, request.session_id)
        if request.request_id:
            earlier = await self._sessions.claim(
                owner.tenant_id, request.session_id, request.request_id, _claim_seconds()
            )
            if earlier is not None and earlier.response is not None:
                return pb.SendChatMessageResponse.FromString(earlier.response)
            if earlier is not None:
                message = "a message of this request id is being answered"
                raise errors.Aborted(message, reason=reasons.REQUEST_IN_PROGRESS, retry_after=RETRY_SECONDS)
        answer = None
        try:
            check_etag(session.public, request.etag)
            check_active(session.public)
            answer = await self._answer(owner, session, request)
        finally:
            # A withheld answer is not stored, so the same request may be sent again.
            if request.request_id and (answer is None or answer.finish_reason == WITHHELD):
                await self._sessions.release(owner.tenant_id, request.session_id, request.request_id)
        return answer

    async def page(self, owner: Principal, request: pb.ListChatMessagesRequest) -> pb.ListChatMessagesResponse:
        """A page of messages, oldest first.

        Raises:
            NotFound: there is no such session.
        """
        await require_session(self._sessions, owner, request.session_id)
        page = await self._conversations.page(
            owner.tenant_id, request.session_id, request.page_size, request.page_token
        )
        return pb.ListChatMessagesResponse(
            messages=map(chat_message, page.messages), next_page_token=page.next_page_token
        )

    async def _answer(
        self, owner: Principal, session: Session, request: pb.SendChatMessageRequest
    ) -> pb.SendChatMessageResponse:
        answered = False
        try:
            answer = await self._take_turn(session, request, _append_id(request))
            answered = answer.finish_reason != WITHHELD
        finally:
            if not answered:
                await self._sessions.fail(owner.tenant_id, request.session_id)
        messages = 2 if answer.response else 1
        if answered and not await self._sessions.answer(
            owner.tenant_id, request.session_id, request.request_id, messages, answer
        ):
            # The session was deleted meanwhile, and memory got this turn after it had deleted the conversation.
            await self._conversations.delete(owner.tenant_id, request.session_id)
            raise session_not_found(request.session_id)
        return answer

    async def _take_turn(
        self, session: Session, request: pb.SendChatMessageRequest, append_id: str
    ) -> pb.SendChatMessageResponse:
        """Take the turn of a message; memory keeps one of the turns with the same `append_id`.

        Raises:
            PermissionDenied, FailedPrecondition: policy refuses the message.
            MeshError: the error of a neighbour, unchanged.
        """
        began = time.perf_counter()
        answer = pb.SendChatMessageResponse(session_id=session.public.id)
        metrics = answer.performance_metrics
        texts: list[str] = []
        turn = self._turns.take(_chat_request(session, request), append_id=append_id, task=task_of(session.public))
        async with aclosing(turn) as events:
            async for event in events:
                kind = event.WhichOneof("payload")
                if kind == "started":
                    answer.message_id, answer.model = event.started.chat_id, event.started.model
                    metrics.context_length_chars = event.started.context_length_chars
                elif kind == "delta":
                    texts.append(event.delta.text)
                elif kind == "finished":
                    answer.response = "".join(texts)
                    answer.finish_reason = _finish_reason(message_pb2.FinishReason.Name(event.finished.finish_reason))
                    _fill_metrics(metrics, event.finished, answer.model, time.perf_counter() - began)
                    return answer
        raise errors.Unavailable("the turn ended without its final event", reason=reasons.STREAM_CUT)


def _append_id(request: pb.SendChatMessageRequest) -> str:
    """The same id for each repetition of a request; only callers who know the session's id can make it."""
    return str(uuid.uuid5(uuid.UUID(request.session_id), request.request_id)) if request.request_id else ""


def _claim_seconds() -> float:
    """The number of seconds the call may still take, and a margin."""
    call = current_call()
    remaining = call.remaining() if call is not None else None
    return CLAIM_SECONDS if remaining is None else remaining + CLAIM_MARGIN_SECONDS


def chat_message(stored: memory_service_pb2.ConversationMessage) -> pb.ChatMessage:
    """A message of memory as a message of a session."""
    message = pb.ChatMessage(
        sequence=stored.sequence,
        role=message_pb2.Role.Name(stored.message.role).removeprefix("ROLE_").lower(),
        content=text_of(stored.message),
        timestamp=stored.create_time,
    )
    if stored.message.HasField("metadata"):
        message.metadata.CopyFrom(stored.message.metadata)
    return message


def _chat_request(session: Session, request: pb.SendChatMessageRequest) -> chat_service_pb2.ChatRequest:
    message = message_pb2.Message(role=message_pb2.ROLE_USER, content=request.message)
    if request.HasField("metadata"):
        message.metadata.CopyFrom(request.metadata)
    return chat_service_pb2.ChatRequest(
        model=request.model_name or session.public.model_name,
        messages=(message_pb2.Message(role=message_pb2.ROLE_SYSTEM, content=session.instructions), message),
        conversation_id=conversation_of(session.public.id),
        options=GenerationOptions(user=session.public.user_id),
    )


def _fill_metrics(
    metrics: pb.PerformanceMetrics, finished: chat_service_pb2.ChatFinished, model: str, seconds: float
) -> None:
    metrics.response_time_seconds = seconds
    metrics.prompt_eval_time_seconds = finished.time_to_first_token_seconds
    metrics.generation_time_seconds = max(0.0, finished.duration_seconds - finished.time_to_first_token_seconds)
    metrics.prompt_tokens = finished.usage.prompt_tokens
    metrics.response_tokens = finished.usage.completion_tokens
    metrics.total_tokens = finished.usage.total_tokens
    metrics.tokens_per_second = finished.tokens_per_second
    metrics.model_name = model
    metrics.timestamp.GetCurrentTime()


def _finish_reason(finish_reason: str) -> str:
    return finish_reason.removeprefix("FINISH_REASON_").lower()
