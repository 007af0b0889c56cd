"""Sessions from their creation to their deletion."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from soma.errors.v1 import reasons
from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from services.mesh.call import errors, page_token
from services.mesh.call.principal import Principal
from services.orchestrator.logs.writer import LogWriter
from services.orchestrator.sessions.answering import task_of
from services.orchestrator.sessions.conversations import Conversations
from services.orchestrator.sessions.preconditions import changed, check_etag, existing
from services.orchestrator.sessions.status import sources
from services.orchestrator.sessions.store import Selection, Session, Sessions
from services.orchestrator.sessions.templates import DEFAULT_TYPE, Templates

PAGE_SIZE = 50


class Models(Protocol):
    """Which models there are."""

    async def require_chat(self, name: str) -> None:
        """Refuse a name no chat model has; empty is the default's."""
        ...


class Chats:
    """Sessions of principals; none sees another's."""

    def __init__(
        self,
        sessions: Sessions,
        templates: Templates,
        models: Models,
        conversations: Conversations,
        log: LogWriter,
    ) -> None:
        self._sessions = sessions
        self._templates = templates
        self._models = models
        self._conversations = conversations
        self._log = log

    async def create(
        self, owner: Principal, request: pb.CreateChatSessionRequest, template: str, parameters: Mapping[str, str]
    ) -> pb.ChatSession:
        """Start a session, led by a template with these parameters.

        Raises:
            InvalidArgument: there is no such session type, template or parameter, or the model holds no conversation.
            NotFound: there is no such model.
            MeshError: the model service cannot be asked.
        """
        session_type = request.session_type or DEFAULT_TYPE
        chosen = self._templates.choose(session_type, template)
        instructions = self._templates.instructions(chosen, parameters)
        await self._models.require_chat(request.model_name)
        session = await self._sessions.create(owner, request, chosen, instructions)
        if session is None:
            raise errors.Aborted("the session of this request id is being deleted", reason=reasons.SESSION_DELETED)
        facts = {"session_type": session_type, "template": chosen.name}
        self._log.record(owner.tenant_id, task_of(session.shown), "session created", facts)
        return session.shown

    async def get(self, owner: Principal, session_id: str) -> Session:
        """A session.

        Raises:
            NotFound: there is none.
        """
        return await existing(self._sessions, owner, session_id)

    async def list(self, owner: Principal, request: pb.ListChatSessionsRequest) -> pb.ListChatSessionsResponse:
        """A page of sessions.

        Raises:
            InvalidArgument: the page token is none of this list.
        """
        size = request.page_size or PAGE_SIZE
        after = page_token.read(request, datetime, UUID)
        selection = Selection(request.status, request.session_type, request.user_id, after, size + 1)
        found = [session.shown for session in await self._sessions.page(owner, selection)]
        response = pb.ListChatSessionsResponse(sessions=found[:size])
        if len(found) > size:
            last = found[size - 1]
            created = last.created_at.ToDatetime(tzinfo=UTC)
            response.next_page_token = page_token.write(request, created, UUID(last.id))
        return response

    async def set_status(self, owner: Principal, request: pb.SetChatSessionStatusRequest) -> pb.ChatSession:
        """Move a session to another status.

        Raises:
            NotFound, Aborted: there is no such session, or not at this etag.
            FailedPrecondition: it cannot be had from the session's status.
        """
        allowed = sources(request.status)
        session = await self._sessions.set_status(owner, request.session_id, request.status, allowed, request.etag)
        if session is None:
            now = (await self.get(owner, request.session_id)).shown
            check_etag(now, request.etag)
            raise errors.FailedPrecondition(
                f"a session that is {now.status} cannot become {request.status}",
                reason=reasons.STATUS_UNREACHABLE,
                metadata={"from": now.status, "to": request.status},
            )
        self._log.record(owner.tenant_id, task_of(session.shown), f"session is {request.status}", {})
        return session.shown

    async def delete(self, owner: Principal, request: pb.DeleteChatSessionRequest) -> None:
        """Delete a session and what was said in it; to repeat the call goes on with a deletion that was cut short.

        Raises:
            NotFound, Aborted: there is no such session, or not at this etag.
            Unavailable: memory cannot be reached; the session is hidden already.
        """
        if not await self._sessions.hide(owner, request.session_id, request.etag):
            raise changed((await self.get(owner, request.session_id)).shown.etag)
        await self._conversations.forget(owner.tenant_id, request.session_id)
        await self._sessions.delete(request.session_id)
