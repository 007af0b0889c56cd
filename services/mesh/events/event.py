"""An event: its type, how a service makes it, and how a consumer reads it."""

import re
import uuid
from datetime import UTC, datetime

from google.protobuf.message import DecodeError, Message
from soma.errors.v1 import reasons
from soma.events.v1.event_pb2 import Event

from services.mesh.call import errors
from services.mesh.call.call import current_call

_TYPE = re.compile(r"([a-z]+)(\.[a-z_]+){2}")


def area_of(type: str) -> str:
    """The service that sends events of a type, `<area>.<noun>.<past-tense verb>`.

    Raises:
        ValueError: the type has another form.
    """
    match = _TYPE.fullmatch(type)
    if match is None:
        raise ValueError(f"{type!r} is no type of an event: those are called <area>.<noun>.<past-tense verb>")
    return match[1]


def new_event(type: str, tenant_id: str, payload: Message, occur_time: datetime | None = None) -> Event:
    """An event in the trace of the current call.

    Args:
        type: such as `memory.conversation.deleted`.
        payload: a message of the owning service's package.
        occur_time: when it happened, aware; now if it is left out. If consumers compare it with times of Postgres, it
            has to come from Postgres.
    """
    call = current_call()
    event = Event(
        event_id=str(uuid.uuid4()),
        type=type,
        tenant_id=tenant_id,
        traceparent=call.trace.traceparent if call is not None and call.trace else "",
    )
    event.occur_time.FromDatetime(occur_time or datetime.now(UTC))
    event.payload.Pack(payload)
    return event


def read_event(data: bytes) -> Event:
    """The event in serialised bytes.

    Raises:
        InvalidArgument: EVENT_UNREADABLE: the bytes are no event, or an event without a type, a tenant or an id.
    """
    try:
        event = Event.FromString(data)
        area_of(event.type)
        uuid.UUID(event.event_id)
    except (DecodeError, ValueError) as error:
        raise _unreadable(str(error)) from error
    if not event.tenant_id or "\0" in event.tenant_id:
        raise _unreadable("it has no tenant")
    return event


def _unreadable(why: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"this is no event: {why}", reason=reasons.EVENT_UNREADABLE)
