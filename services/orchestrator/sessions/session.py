"""Chat sessions: their statuses, the preconditions of calls, and their life from creation to deletion."""

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
    # A completed session continues through `active`. An archived session can only become active again.
    COMPLETED: frozenset({ACTIVE, ARCHIVED}),
    ARCHIVED: frozenset({ACTIVE}),
}

PAGE_SIZE = 50


def sources(status: str) -> list[str]:
    """The statuses from which a session may be set to `status`, including that status."""
    return [each for each in STATUSES if each == status or status in FOLLOWING[each]]


async def require_session(sessions: PostgresSessions, owner: Principal, session_id: str) -> Session:
    """A session of this principal.

    Raises:
        NotFound: the principal has no such session.
    """
    session = await sessions.get(owner, session_id)
    if session is None:
        raise session_not_found(session_id)
    return session


def session_not_found(session_id: str) -> errors.NotFound:
    """The error for a session that does not exist or belongs to somebody else."""
    return errors.NotFound(
        "there is no such session", reason=reasons.SESSION_NOT_FOUND, metadata={"session_id": session_id}
    )


def check_etag(session: pb.ChatSession, etag: str) -> None:
    """Refuse a call that was made for an earlier version of the session; an empty etag stands for any version.

    Raises:
        Aborted: the session has another etag.
    """
    if etag and etag != session.etag:
        raise etag_mismatch(session.etag)


def etag_mismatch(etag: str) -> errors.Aborted:
    """The error for a call that was made for an earlier version of the session."""
    return errors.Aborted("the session changed meanwhile", reason=reasons.ETAG_MISMATCH, metadata={"etag": etag})


def check_active(session: pb.ChatSession) -> None:
    """Refuse a message to a session that is not active.

    Raises:
        FailedPrecondition: the session is not active.
    """
    if session.status != ACTIVE:
        raise errors.FailedPrecondition(
            f"the session is {session.status}; set it to {ACTIVE} first",
            reason=reasons.SESSION_NOT_ACTIVE,
            metadata={"status": session.status},
        )


def task_of(session: pb.ChatSession) -> Task:
    """The task of a session's log entries."""
    return Task(session.id, SESSION, session.agent_id)


class Sessions:
    """Creates, lists, changes and deletes sessions; a principal sees only its own."""

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
        """Create a session with the instructions of a template, in which these parameters are set.

        Raises:
            InvalidArgument: the session type, the template or a parameter is unknown, or the model cannot chat.
            NotFound: there is no such model.
            MeshError: the error of the model service.
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
            NotFound: the principal has no such session.
        """
        return await require_session(self._sessions, owner, session_id)

    async def list(self, owner: Principal, request: pb.ListChatSessionsRequest) -> pb.ListChatSessionsResponse:
        """A page of sessions.

        Raises:
            InvalidArgument: the page token does not belong to this list.
        """
        size = request.page_size or PAGE_SIZE
        after = page_token.read(request, datetime, UUID)
        selection = Selection(request.status, request.session_type, request.user_id, after, size + 1)
        found = [session.public for session in await self._sessions.page(owner, selection)]
        sessions, token = page_token.cut(
            request, found, size, lambda last: (last.created_at.ToDatetime(tzinfo=UTC), UUID(last.id))
        )
        return pb.ListChatSessionsResponse(sessions=sessions, next_page_token=token)

    async def set_status(self, owner: Principal, request: pb.SetChatSessionStatusRequest) -> pb.ChatSession:
        """Move a session to another status.

        Raises:
            NotFound: there is no such session.
            Aborted: the session has another etag.
            FailedPrecondition: the session's status cannot be followed by this one.
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
        """Delete a session and its conversation; a repeated call continues a deletion that was interrupted.

        Raises:
            NotFound: there is no such session.
            Aborted: the session has another etag.
            Unavailable: memory cannot be reached; the session is already hidden.
        """
        if not await self._sessions.hide(owner, request.session_id, request.etag):
            raise etag_mismatch((await self.get(owner, request.session_id)).public.etag)
        await self._conversations.delete(owner.tenant_id, request.session_id)
        await self._sessions.delete(owner.tenant_id, request.session_id)
