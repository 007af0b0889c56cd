"""Builds the calls of ChatSessionService; generated from soma/orchestrator/v1/chat_session_service.proto."""

import uuid
from collections.abc import Mapping
from typing import Any, Literal

from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from somamesh import messages, models, session_messages, session_templates, sessions
from somamesh.calls import Call, Listing, Page, no_value, unary
from somamesh.json_values import to_struct


def create_session(
    session_type: str = "",
    *,
    model: str = "",
    user_id: str = "",
    title: str = "",
    config: Mapping[str, Any] | None = None,
    agent_id: str = "",
    timeout: float | None = None,
) -> Call[sessions.Session]:
    """Starts a session.

    Args:
        session_type: Session type: what the session is for. The templates define the types. `general` when empty.
        model: The model that answers; empty for the default. A model that does not exist is refused with
            MODEL_NOT_FOUND.
        user_id: The caller's own name for its end user; may be empty.
        title: Title, for people; may be empty.
        config: Configuration, kept with the session; at most 64 KiB. `template` names a template of the session
            type, `custom_parameters` sets the template's parameters, and `description` is a text. Settings for
            the creation of agents have no effect here and are refused with CONFIG_NOT_SUPPORTED:
            `max_iterations`, `validation_level`, `auto_finalize`, `custom_templates`.
        agent_id: Id of the agent the session is for; its log entries have the same id. May be empty.
    """
    request = pb.CreateChatSessionRequest(
        session_type=session_type,
        model_name=model,
        user_id=user_id,
        title=title,
        config=to_struct(config) if config else None,
        agent_id=agent_id,
        request_id=str(uuid.uuid4()),
    )
    return unary(
        lambda mesh: mesh.chat_session_service.CreateChatSession,
        request,
        sessions.from_session,
        repeatable=True,
        timeout=timeout,
    )


def get_session(session_id: str, *, timeout: float | None = None) -> Call[sessions.Session]:
    """Reads a session.

    Args:
        session_id: The session.
    """
    request = pb.GetChatSessionRequest(session_id=session_id)
    return unary(
        lambda mesh: mesh.chat_session_service.GetChatSession,
        request,
        sessions.from_session,
        repeatable=True,
        timeout=timeout,
    )


def list_sessions(
    *,
    status: Literal["active", "paused", "completed", "archived"] | None = None,
    session_type: str = "",
    user_id: str = "",
    page_size: int = 0,
    timeout: float | None = None,
) -> Listing[sessions.Session]:
    """Lists the caller's sessions. Pages are fetched while iterating.

    The newest come first.

    Args:
        status: Only sessions with this status.
        session_type: Only sessions of this session type.
        user_id: Only sessions of this end user.
        page_size: Most sessions in a page; 50 when 0.
    """

    def read(response: pb.ListChatSessionsResponse) -> Page[sessions.Session]:
        return Page([sessions.from_session(each) for each in response.sessions], response.next_page_token)

    def page(token: str) -> Call[Page[sessions.Session]]:
        request = pb.ListChatSessionsRequest(
            status=status or "", session_type=session_type, user_id=user_id, page_size=page_size, page_token=token
        )
        return unary(
            lambda mesh: mesh.chat_session_service.ListChatSessions, request, read, repeatable=True, timeout=timeout
        )

    return Listing(page)


def delete_session(session_id: str, *, etag: str = "", timeout: float | None = None) -> Call[None]:
    """Deletes a session and its messages.

    Raises `ConflictError` when the session no longer has this `etag`.

    Args:
        session_id: The session.
        etag: The etag that the session must still have. When empty, the etag is not checked.
    """
    request = pb.DeleteChatSessionRequest(session_id=session_id, etag=etag)
    return unary(
        lambda mesh: mesh.chat_session_service.DeleteChatSession, request, no_value, repeatable=False, timeout=timeout
    )


def set_session_status(
    session_id: str,
    status: Literal["active", "paused", "completed", "archived"],
    *,
    etag: str = "",
    timeout: float | None = None,
) -> Call[sessions.Session]:
    """Changes the status of a session. It fails with FAILED_PRECONDITION when the session cannot go to that status.

    Raises `ConflictError` when the session no longer has this `etag`.

    Args:
        session_id: The session.
        status: The new status: `active`, `paused`, `completed` or `archived`.
        etag: The etag that the session must still have. When empty, the etag is not checked.
    """
    request = pb.SetChatSessionStatusRequest(session_id=session_id, status=status, etag=etag)
    return unary(
        lambda mesh: mesh.chat_session_service.SetChatSessionStatus,
        request,
        sessions.from_session,
        repeatable=not etag,
        timeout=timeout,
    )


def send_session_message(
    session_id: str,
    message: str,
    *,
    model: str = "",
    metadata: Mapping[str, Any] | None = None,
    etag: str = "",
    timeout: float | None = None,
) -> Call[session_messages.Reply]:
    """Sends a message and returns the answer: one chat turn. It fails with FAILED_PRECONDITION unless the session is
    active.

    Raises `ConflictError` when the session no longer has this `etag`.

    Args:
        session_id: The session.
        message: Text of the message.
        model: The model that answers this message; the session's model when empty.
        metadata: Metadata, kept with the message and never shown to a model; at most 64 KiB.
        etag: The etag that the session must still have. When empty, the etag is not checked.
    """
    request = pb.SendChatMessageRequest(
        session_id=session_id,
        message=message,
        model_name=model,
        metadata=to_struct(metadata) if metadata else None,
        etag=etag,
        request_id=str(uuid.uuid4()),
    )
    return unary(
        lambda mesh: mesh.chat_session_service.SendChatMessage,
        request,
        session_messages.from_reply,
        repeatable=True,
        timeout=timeout,
        slow=True,
    )


def list_session_messages(
    session_id: str, *, page_size: int = 0, timeout: float | None = None
) -> Listing[messages.Message]:
    """Reads a session's messages. Pages are fetched while iterating.

    The oldest come first.

    Args:
        session_id: The session.
        page_size: Most messages in a page; 50 when 0.
    """

    def read(response: pb.ListChatMessagesResponse) -> Page[messages.Message]:
        return Page([session_messages.from_chat_message(each) for each in response.messages], response.next_page_token)

    def page(token: str) -> Call[Page[messages.Message]]:
        request = pb.ListChatMessagesRequest(session_id=session_id, page_size=page_size, page_token=token)
        return unary(
            lambda mesh: mesh.chat_session_service.ListChatMessages, request, read, repeatable=True, timeout=timeout
        )

    return Listing(page)


def get_session_stats(session_id: str, *, timeout: float | None = None) -> Call[session_messages.SessionStats]:
    """Returns statistics of a session's answers.

    Args:
        session_id: The session.
    """
    request = pb.GetChatSessionStatsRequest(session_id=session_id)
    return unary(
        lambda mesh: mesh.chat_session_service.GetChatSessionStats,
        request,
        session_messages.from_stats,
        repeatable=True,
        timeout=timeout,
    )


def list_session_templates(*, timeout: float | None = None) -> Call[list[session_templates.Template]]:
    """Lists the templates of sessions."""
    request = pb.ListChatTemplatesRequest()
    return unary(
        lambda mesh: mesh.chat_session_service.ListChatTemplates,
        request,
        session_templates.from_templates,
        repeatable=True,
        timeout=timeout,
    )


def list_session_models(*, timeout: float | None = None) -> Call[list[models.Model]]:
    """Lists the models a session may name.

    The default comes first.
    """
    request = pb.ListChatModelsRequest()
    return unary(
        lambda mesh: mesh.chat_session_service.ListChatModels,
        request,
        models.from_models,
        repeatable=True,
        timeout=timeout,
    )
