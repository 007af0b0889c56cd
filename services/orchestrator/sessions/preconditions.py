"""What must be so before something is done with a session."""

from soma.errors.v1 import reasons
from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from services.mesh.call import errors
from services.mesh.call.principal import Principal
from services.orchestrator.sessions.status import ACTIVE
from services.orchestrator.sessions.store import Session, Sessions


async def existing(sessions: Sessions, owner: Principal, session_id: str) -> Session:
    """A session of this principal.

    Raises:
        NotFound: there is none.
    """
    session = await sessions.get(owner, session_id)
    if session is None:
        raise gone(session_id)
    return session


def gone(session_id: str) -> errors.NotFound:
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
        raise changed(session.etag)


def changed(etag: str) -> errors.Aborted:
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
