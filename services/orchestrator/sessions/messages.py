"""Messages of sessions: answered once for each request id, counted, and listed."""

import uuid

from soma.errors.v1 import reasons
from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from services.mesh.call import errors
from services.mesh.call.call import current_call
from services.mesh.call.principal import Principal
from services.orchestrator.sessions.answering import Answering, shown_message
from services.orchestrator.sessions.conversations import Conversations
from services.orchestrator.sessions.preconditions import check_active, check_etag, existing, gone
from services.orchestrator.sessions.store import Session, Sessions

# How long a caller without a deadline holds a request id at most; after a crash it is free again by then.
CLAIM_SECONDS = 600.0
CLAIM_MARGIN_SECONDS = 5.0
# How soon to ask again for a message that is being answered.
RETRY_SECONDS = 2.0

WITHHELD = "content_filter"


class Messages:
    """What is said in sessions, and the answers."""

    def __init__(self, sessions: Sessions, answering: Answering, conversations: Conversations) -> None:
        self._sessions = sessions
        self._answering = answering
        self._conversations = conversations

    async def send(self, owner: Principal, request: pb.SendChatMessageRequest) -> pb.SendChatMessageResponse:
        """Answer a message.

        Raises:
            NotFound, Aborted: there is no such session, or not at this etag; or the same request is being answered.
            FailedPrecondition: the session is not active.
            MeshError: the turn failed; nothing of it is kept.
        """
        session = await existing(self._sessions, owner, request.session_id)
        if request.request_id:
            earlier = await self._sessions.claim(request.session_id, request.request_id, _claim_seconds())
            if earlier is not None and earlier.response is not None:
                return pb.SendChatMessageResponse.FromString(earlier.response)
            if earlier is not None:
                message = "a message of this request id is being answered"
                raise errors.Aborted(message, reason=reasons.REQUEST_IN_PROGRESS, retry_after=RETRY_SECONDS)
        answer = None
        try:
            check_etag(session.shown, request.etag)
            check_active(session.shown)
            answer = await self._answer(owner, session, request)
        finally:
            # A withheld answer is kept nowhere: the same request may be asked again.
            if request.request_id and (answer is None or answer.finish_reason == WITHHELD):
                await self._sessions.release(request.session_id, request.request_id)
        return answer

    async def page(self, owner: Principal, request: pb.ListChatMessagesRequest) -> pb.ListChatMessagesResponse:
        """A page of messages, oldest first.

        Raises:
            NotFound: there is no such session.
        """
        await existing(self._sessions, owner, request.session_id)
        page = await self._conversations.page(
            owner.tenant_id, request.session_id, request.page_size, request.page_token
        )
        return pb.ListChatMessagesResponse(
            messages=map(shown_message, page.messages), next_page_token=page.next_page_token
        )

    async def _answer(
        self, owner: Principal, session: Session, request: pb.SendChatMessageRequest
    ) -> pb.SendChatMessageResponse:
        answered = False
        try:
            answer = await self._answering.answer(session, request, _append_id(request))
            answered = answer.finish_reason != WITHHELD
        finally:
            if not answered:
                await self._sessions.fail(request.session_id)
        messages = 2 if answer.response else 1
        if answered and not await self._sessions.answer(request.session_id, request.request_id, messages, answer):
            # It was deleted meanwhile, and this turn came to memory after what had been said there was forgotten.
            await self._conversations.forget(owner.tenant_id, request.session_id)
            raise gone(request.session_id)
        return answer


def _append_id(request: pb.SendChatMessageRequest) -> str:
    """One for each request id of a session; known to nobody who does not know the session's id."""
    return str(uuid.uuid5(uuid.UUID(request.session_id), request.request_id)) if request.request_id else ""


def _claim_seconds() -> float:
    """As long as the call may take."""
    call = current_call()
    remaining = call.remaining() if call is not None else None
    return CLAIM_SECONDS if remaining is None else remaining + CLAIM_MARGIN_SECONDS
