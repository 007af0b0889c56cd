"""Page tokens of lists of sessions: the creation time and the id of the last one shown."""

import base64
import binascii
import uuid
from datetime import UTC, datetime, timedelta

from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from services.mesh import errors

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def token(last: pb.ChatSession) -> str:
    """The token of the page behind a session."""
    return base64.urlsafe_b64encode(f"{last.created_at.ToMicroseconds()}:{last.id}".encode()).decode()


def place(page_token: str) -> tuple[datetime, str]:
    """Where a page begins.

    Raises:
        InvalidArgument: the token is not one of ours.
    """
    try:
        microseconds, _, session_id = base64.urlsafe_b64decode(page_token).decode("ascii").partition(":")
        if microseconds.isdecimal() and len(microseconds) < 18:
            return _EPOCH + int(microseconds) * _MICROSECOND, str(uuid.UUID(session_id))
    except (binascii.Error, ValueError, OverflowError):
        pass
    raise errors.InvalidArgument(
        "this page token was not given by ListChatSessions",
        violations=(errors.FieldViolation("page_token", "pass next_page_token of the page before"),),
    )
