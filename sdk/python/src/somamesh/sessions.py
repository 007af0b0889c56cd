"""Chat sessions: conversations with a title, a model, a status and statistics."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from somamesh.calls import Call, Listing, Page, unary
from somamesh.json_values import from_struct, to_struct
from somamesh.times import moment

Status = Literal["active", "paused", "completed", "archived"]
Shown = pb.ChatSession | pb.CreateChatSessionResponse | pb.GetChatSessionResponse | pb.SetChatSessionStatusResponse


@dataclass(frozen=True, slots=True)
class Session:
    """A session.

    Attributes:
        model: what answers; empty for the default.
        config: as it was created with.
        template: where its instructions come from.
        status: `active`, `paused`, `completed` or `archived`; only an active one takes messages.
        message_count: of both sides.
        last_message_at: when its last answer came; None before the first.
        etag: changes whenever the session does.
    """

    id: str
    session_type: str
    model: str
    user_id: str
    title: str
    config: dict[str, Any]
    agent_id: str
    template: str
    status: str
    message_count: int
    created_at: datetime | None
    updated_at: datetime | None
    last_message_at: datetime | None
    etag: str


def create_session(
    session_type: str = "",
    *,
    model: str = "",
    user_id: str = "",
    title: str = "",
    config: Mapping[str, Any] | None = None,
    agent_id: str = "",
    timeout: float | None = None,
) -> Call[Session]:
    """Begin a session; raises `NotFoundError` where there is no such model.

    Args:
        session_type: one the templates name; `general` when empty.
        model: what answers; the default when empty.
        config: kept with it; `template` names one of the type's templates, `custom_parameters` fills its parameters.
    """
    request = pb.CreateChatSessionRequest(
        session_type=session_type,
        model_name=model,
        user_id=user_id,
        title=title,
        agent_id=agent_id,
        request_id=str(uuid.uuid4()),
    )
    if config:
        request.config.CopyFrom(to_struct(config))
    return unary(lambda mesh: mesh.sessions.CreateChatSession, request, _session, repeatable=True, timeout=timeout)


def get_session(session_id: str, *, timeout: float | None = None) -> Call[Session]:
    """Read a session; raises `NotFoundError`."""
    request = pb.GetChatSessionRequest(session_id=session_id)
    return unary(lambda mesh: mesh.sessions.GetChatSession, request, _session, repeatable=True, timeout=timeout)


def list_sessions(
    *,
    status: Status | None = None,
    session_type: str = "",
    user_id: str = "",
    page_size: int = 0,
    timeout: float | None = None,
) -> Listing[Session]:
    """The caller's sessions, the newest first; pages are fetched while iterating."""

    def page(token: str) -> Call[Page[Session]]:
        request = pb.ListChatSessionsRequest(
            status=status or "", session_type=session_type, user_id=user_id, page_size=page_size, page_token=token
        )
        return unary(lambda mesh: mesh.sessions.ListChatSessions, request, _page, repeatable=True, timeout=timeout)

    return Listing(page)


def set_session_status(
    session_id: str, status: Status, *, etag: str = "", timeout: float | None = None
) -> Call[Session]:
    """Pause a session, take it up again, complete or archive it.

    Args:
        etag: only if the session is still as it was read; `ConflictError` when it is not.
    """
    request = pb.SetChatSessionStatusRequest(session_id=session_id, status=status, etag=etag)
    # With an etag, an attempt that took effect unseen would have the next one refused.
    return unary(
        lambda mesh: mesh.sessions.SetChatSessionStatus, request, _session, repeatable=not etag, timeout=timeout
    )


def delete_session(session_id: str, *, etag: str = "", timeout: float | None = None) -> Call[None]:
    """Delete a session, and what was said in it.

    Args:
        etag: only if the session is still as it was read; `ConflictError` when it is not.
    """
    request = pb.DeleteChatSessionRequest(session_id=session_id, etag=etag)
    return unary(
        lambda mesh: mesh.sessions.DeleteChatSession, request, lambda _: None, repeatable=False, timeout=timeout
    )


def _session(shown: Shown) -> Session:
    return Session(
        id=shown.id,
        session_type=shown.session_type,
        model=shown.model_name,
        user_id=shown.user_id,
        title=shown.title,
        config=from_struct(shown.config),
        agent_id=shown.agent_id,
        template=shown.template,
        status=shown.status,
        message_count=shown.message_count,
        created_at=moment(shown.created_at),
        updated_at=moment(shown.updated_at),
        last_message_at=moment(shown.last_message_at),
        etag=shown.etag,
    )


def _page(response: pb.ListChatSessionsResponse) -> Page[Session]:
    return Page([_session(each) for each in response.sessions], response.next_page_token)
