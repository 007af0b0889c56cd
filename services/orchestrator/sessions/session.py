"""Sessions from their creation to their deletion."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from soma.errors.v1 import reasons
from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from services.mesh.call import errors, page_token
from services.mesh.call.principal import Principal
from services.orchestrator.adapters.model import ChatModels
from services.orchestrator.logs.entry import SESSION, Task
from services.orchestrator.logs.writer import LogWriter
from services.orchestrator.sessions.conversation import Conversations
from services.orchestrator.sessions.store import PostgresSessions, Selection, Session
from services.orchestrator.sessions.template import DEFAULT_TYPE, Templates

ACTIVE, PAUSED, COMPLETED, ARCHIVED = "active", "paused", "completed", "archived"
STATUSES = (ACTIVE, PAUSED, COMPLETED, ARCHIVED)

FOLLOWING = {
    ACTIVE: frozenset({PAUSED, COMPLETED, ARCHIVED}),
    PAUSED: frozenset({ACTIVE, COMPLETED, ARCHIVED}),
    # Completed work is taken up again through `active`, and an archive is only opened, never worked in.
    COMPLETED: frozenset({ACTIVE, ARCHIVED}),
    ARCHIVED: frozenset({ACTIVE}),
}

PAGE_SIZE = 50


def sources(status: str) -> list[str]:
    """The statuses a session may have when it is set to `status`; that one itself among them."""
    return [each for each in STATUSES if each == status or status in FOLLOWING[each]]


async def require_session(sessions: PostgresSessions, owner: Principal, session_id: str) -> Session:
    """A session of this principal.

    Raises:
        NotFound: there is none.
    """
    session = await sessions.get(owner, session_id)
    if session is None:
        raise session_not_found(session_id)
    return session


def session_not_found(session_id: str) -> errors.NotFound:
    """The answer to who asks for a session that is not there, or not theirs."""
    return errors.NotFound(
        "there is no such session", reason=reasons.SESSION_NOT_FOUND, metadata={"session_id": session_id}
    )


def check_etag(session: pb.ChatSession, etag: str) -> None:
    """Refuse to go on from an old reading of a session; an empty etag goes on from any.

    Raises:
        Aborted: the session changed since.
    """
    if etag and etag != session.etag:
        raise etag_mismatch(session.etag)


def etag_mismatch(etag: str) -> errors.Aborted:
    """The answer to who goes on from an old reading."""
    return errors.Aborted("the session changed meanwhile", reason=reasons.ETAG_MISMATCH, metadata={"etag": etag})


def check_active(session: pb.ChatSession) -> None:
    """Refuse to go on in a session that is not active.

    Raises:
        FailedPrecondition: it is not.
    """
    if session.status != ACTIVE:
        raise errors.FailedPrecondition(
            f"the session is {session.status}; set it to {ACTIVE} first",
            reason=reasons.SESSION_NOT_ACTIVE,
            metadata={"status": session.status},
        )


def task_of(session: pb.ChatSession) -> Task:
    """What a session's log entries are about."""
    return Task(session.id, SESSION, session.agent_id)


class Sessions:
    """Sessions of principals; none sees another's."""

    def __init__(
        self,
        sessions: PostgresSessions,
        templates: Templates,
        models: ChatModels,
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
        await self._models.require(request.model_name)
        session = await self._sessions.create(owner, request, chosen, instructions)
        if session is None:
            raise errors.Aborted("the session of this request id is being deleted", reason=reasons.SESSION_DELETED)
        facts = {"session_type": session_type, "template": chosen.name}
        self._log.record(owner.tenant_id, task_of(session.public), "session created", facts)
        return session.public

    async def get(self, owner: Principal, session_id: str) -> Session:
        """A session.

        Raises:
            NotFound: there is none.
        """
        return await require_session(self._sessions, owner, session_id)

    async def list(self, owner: Principal, request: pb.ListChatSessionsRequest) -> pb.ListChatSessionsResponse:
        """A page of sessions.

        Raises:
            InvalidArgument: the page token is none of this list.
        """
        size = request.page_size or PAGE_SIZE
        after = page_token.read(request, datetime, UUID)
        selection = Selection(request.status, request.session_type, request.user_id, after, size + 1)
        found = [session.public for session in await self._sessions.page(owner, selection)]
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
            now = (await self.get(owner, request.session_id)).public
            check_etag(now, request.etag)
            raise errors.FailedPrecondition(
                f"a session that is {now.status} cannot become {request.status}",
                reason=reasons.STATUS_UNREACHABLE,
                metadata={"from": now.status, "to": request.status},
            )
        self._log.record(owner.tenant_id, task_of(session.public), f"session is {request.status}", {})
        return session.public

    async def delete(self, owner: Principal, request: pb.DeleteChatSessionRequest) -> None:
        """Delete a session and what was said in it; to repeat the call goes on with a deletion that was cut short.

        Raises:
            NotFound, Aborted: there is no such session, or not at this etag.
            Unavailable: memory cannot be reached; the session is hidden already.
        """
        if not await self._sessions.hide(owner, request.session_id, request.etag):
            raise etag_mismatch((await self.get(owner, request.session_id)).public.etag)
        await self._conversations.delete(owner.tenant_id, request.session_id)
        await self._sessions.delete(request.session_id)
