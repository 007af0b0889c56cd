"""Page tokens: where the next page of a list begins. A token is valid for that list with the same filters only.

A token is a version, a digest and the place after which the page begins, in base64url. The digest covers the place,
the type of the request, and all its fields but those for the page and its length. So a servicer names no filters, and
a new filter in a contract is covered without a change. The digest finds mistakes and not forgeries: a forged token
leads to a place in a list that its caller may read anyway. So only the types of the place's parts are checked.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, TypeVar, overload
from uuid import UUID

from google.protobuf.message import Message
from soma.errors.v1 import reasons

from services.mesh.call import errors

A = TypeVar("A", int, str, datetime, UUID)
B = TypeVar("B", int, str, datetime, UUID)
T = TypeVar("T")

# The longest place any list has is a key of 2048 bytes of UTF-8.
LONGEST = 4096

_VERSION = b"\x01"
# With the version, this leaves room in a token of 64 characters for the longest position of a log.
_DIGEST_BYTES = 6
_OTHER_PAGES = ("page_token", "page_size", "limit")
_INT64 = 2**63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def write(request: Message, *place: int | str | datetime | UUID) -> str:
    """The token of the page after a place, for the caller of a list.

    Args:
        request: the request for the page before.
        place: integers from 0 on that fit 64 bits, texts without NUL, aware datetimes (to the microsecond) and UUIDs.

    Raises:
        ValueError: a part of the place is something else, or the token would be too long.
    """
    # Not JSON: its escapes make a key of control characters longer than the contract lets a token be.
    payload = "\0".join(map(_text, place)).encode()
    token = urlsafe_b64encode(_VERSION + _digest(request, payload) + payload).decode().rstrip("=")
    if len(token) > LONGEST:
        raise ValueError(f"a page token of {len(token)} characters; {LONGEST} is the most")
    return token


@overload
def read(request: Message, first: type[A], /) -> tuple[A] | None: ...
@overload
def read(request: Message, first: type[A], second: type[B], /) -> tuple[A, B] | None: ...
def read(request: Message, *kinds: type[Any]) -> tuple[Any, ...] | None:
    """The place after which the requested page begins; None for the first page.

    Args:
        request: its field `page_token` has what `write` made for a request of this type with the same filters.
        kinds: the types of the parts of the place: `int`, `str`, `datetime` or `UUID`.

    Raises:
        InvalidArgument: the token was not made for this list with these filters.
    """
    token: str = request.page_token  # type: ignore[attr-defined]
    if not token:
        return None
    try:
        place = tuple(_READ[kind](text) for kind, text in zip(kinds, _texts(token), strict=True))
        # A place can be written in several ways; only the one that `write` makes is accepted.
        genuine = write(request, *place) == token
    except (ValueError, OverflowError):
        genuine = False
    if not genuine:
        raise refusal()
    return place


def cut(
    request: Message, found: Sequence[T], size: int, place: Callable[[T], tuple[int | str | datetime | UUID, ...]]
) -> tuple[Sequence[T], str]:
    """The page of `size` entries and the token of the next page, which is empty after the last one.

    Args:
        found: the entries from the page's beginning on. One more than the page shows that there is a next one.
        place: the place of an entry in the list.
    """
    if len(found) <= size:
        return found, ""
    return found[:size], write(request, *place(found[size - 1]))


def refusal(message: str = "this page token was not given for this list with these filters") -> errors.InvalidArgument:
    """The error for a token that is not valid."""
    return errors.InvalidArgument(
        message,
        reason=reasons.PAGE_TOKEN_INVALID,
        violations=[errors.FieldViolation("page_token", "pass next_page_token of the page before, with its filters")],
    )


def _digest(request: Message, payload: bytes) -> bytes:
    listing = type(request)()
    listing.CopyFrom(request)
    for name in _OTHER_PAGES:
        if name in listing.DESCRIPTOR.fields_by_name:
            listing.ClearField(name)
    listing.DiscardUnknownFields()
    filters = blake2b(listing.SerializeToString(deterministic=True), person=b"page filters").digest()
    whole = listing.DESCRIPTOR.full_name.encode() + b"\0" + filters + payload
    return blake2b(whole, digest_size=_DIGEST_BYTES).digest()


def _texts(token: str) -> list[str]:
    if len(token) > LONGEST:
        raise ValueError("too long")
    return urlsafe_b64decode(token + "=" * (-len(token) % 4))[len(_VERSION) + _DIGEST_BYTES :].decode().split("\0")


def _text(part: int | str | datetime | UUID) -> str:
    if isinstance(part, datetime):
        part = (part - _EPOCH) // _MICROSECOND
        return f"{part}"
    if isinstance(part, str) and "\0" in part:
        raise ValueError("a place holds no NUL")
    if isinstance(part, int) and not 0 <= part < _INT64:
        raise ValueError(f"{part} is no place: it is below 0 or above 64 bits")
    return str(part)


def _moment(text: str) -> datetime:
    return _EPOCH + int(text) * _MICROSECOND


_READ: dict[type[Any], Callable[[str], Any]] = {int: int, str: str, datetime: _moment, UUID: UUID}
