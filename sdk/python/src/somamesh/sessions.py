"""Chat sessions: conversations with a title, a model, a status and statistics."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from somamesh.json_values import from_struct
from somamesh.times import moment

AnySession = pb.ChatSession | pb.CreateChatSessionResponse | pb.GetChatSessionResponse | pb.SetChatSessionStatusResponse


@dataclass(frozen=True, slots=True)
class Session:
    """A session.

    Attributes:
        model: the model that answers; empty for the default.
        config: the configuration given when it was created.
        template: name of the template of its instructions.
        status: `active`, `paused`, `completed` or `archived`; only an active session takes messages.
        message_count: messages of both sides.
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


def from_session(session: AnySession) -> Session:
    """Convert a session."""
    return Session(
        id=session.id,
        session_type=session.session_type,
        model=session.model_name,
        user_id=session.user_id,
        title=session.title,
        config=from_struct(session.config),
        agent_id=session.agent_id,
        template=session.template,
        status=session.status,
        message_count=session.message_count,
        created_at=moment(session.created_at),
        updated_at=moment(session.updated_at),
        last_message_at=moment(session.last_message_at),
        etag=session.etag,
    )
