"""Page tokens: a list reads the tokens that it wrote, and no others."""

import re
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from buf.validate import validate_pb2
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from soma.memory.v1.memory_service_pb2 import ListMemoriesRequest, ListMessagesRequest
from soma.model.v1.cost_service_pb2 import ListUsageRequest
from soma.orchestrator.v1.chat_session_service_pb2 import ListChatMessagesRequest, ListChatSessionsRequest
from soma.orchestrator.v1.log_service_pb2 import QueryLogsRequest

from services.mesh.call import page_token
from services.mesh.call.errors import Code, InvalidArgument

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
KINDS = {int: st.integers(0, 2**63 - 1), str: TEXTS, datetime: MOMENTS, UUID: st.uuids()}
PLACES = st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=2).flatmap(
    lambda kinds: st.tuples(st.just(tuple(kinds)), st.tuples(*(KINDS[kind] for kind in kinds)))
)
FILTERS = st.fixed_dictionaries({"prefix": TEXTS, "category": TEXTS, "tags": st.lists(TEXTS, max_size=3)})
Place = tuple[tuple[Any, ...], tuple[Any, ...]]
LATEST = datetime(9999, 12, 31, tzinfo=UTC)


def reading(token: str, *kinds: Any, of: type[Message] = ListMemoriesRequest, **filters: Any) -> Any:
    asked: Any = of
    return page_token.read(asked(page_token=token, **filters), *kinds)


def refused(token: str, *kinds: Any, of: type[Message] = ListMemoriesRequest, **filters: Any) -> None:
    with pytest.raises(InvalidArgument) as raised:
        reading(token, *kinds, of=of, **filters)
    error = raised.value
    assert (error.code, error.reason) == (Code.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")
    assert [violation.field for violation in error.facts.violations] == ["page_token"]


@given(PLACES, FILTERS, st.integers(0, 1000), st.integers(0, 1000))
def test_a_token_gives_its_place_for_the_same_filters_and_any_size_of_page(
    placed: Place, filters: dict[str, Any], size: int, other: int
) -> None:
    kinds, place = placed
    before = ListMemoriesRequest(page_size=size, page_token="from before", **filters)
    token = page_token.write(before, *place)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
    assert reading(token, *kinds, page_size=other, **filters) == place


@given(PLACES, FILTERS, FILTERS)
def test_a_token_for_other_filters_is_refused(placed: Place, filters: dict[str, Any], others: dict[str, Any]) -> None:
    kinds, place = placed
    token = page_token.write(ListMemoriesRequest(**filters), *place)
    if others == filters:
        assert reading(token, *kinds, **others) == place
    else:
        refused(token, *kinds, **others)


def test_a_token_of_another_list_is_refused() -> None:
    token = page_token.write(ListUsageRequest(), "a")
    assert reading(token, str, of=ListUsageRequest) == ("a",)
    for other in (ListMemoriesRequest, ListMessagesRequest, ListChatSessionsRequest, QueryLogsRequest):
        refused(token, str, of=other)


@given(PLACES, st.data())
def test_a_changed_token_is_refused(placed: Place, data: st.DataObject) -> None:
    kinds, place = placed
    token = page_token.write(ListMemoriesRequest(), *place)
    where = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABZaz09-_=+/ é\n").filter(lambda letter: letter != token[where]))
    refused(token[:where] + letter + token[where + 1 :], *kinds)
    refused(token[:where] + letter + token[where:], *kinds)
    if where:
        refused(token[:where], *kinds)
    refused(token + letter, *kinds)


@given(st.text(min_size=1), st.sampled_from([(str,), (int,), (datetime, UUID), (int, int)]))
def test_text_that_is_not_a_token_is_refused(token: str, kinds: tuple[Any, ...]) -> None:
    refused(token, *kinds)


@given(st.binary(min_size=1), st.sampled_from([(str,), (int,), (datetime, UUID), (int, int)]))
def test_bytes_that_are_not_a_token_are_refused(token: bytes, kinds: tuple[Any, ...]) -> None:
    refused(urlsafe_b64encode(token).decode().rstrip("="), *kinds)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("-1", int),
        ("01", int),
        ("1_0", int),
        (" 1", int),
        ("٣", int),
        (str(2**63), int),
        ("9" * 3000, int),
        ("9" * 30, datetime),
        ("soon", datetime),
        ("x", UUID),
        (f"{{{UUID(int=7)}}}", UUID),
    ],
)
def test_a_valid_token_with_a_place_of_another_type_is_refused(written: str, kind: type[Any]) -> None:
    refused(page_token.write(ListMemoriesRequest(), written), kind)


def test_a_place_with_more_or_fewer_parts_is_refused() -> None:
    token = page_token.write(ListMemoriesRequest(), "a", "b")
    refused(token, str)
    refused(page_token.write(ListMemoriesRequest(), "a"), str, str)


@pytest.mark.parametrize("place", ["a\0b", -1, 2**63, "x" * page_token.LONGEST])
def test_a_place_from_which_no_list_can_continue_is_an_error(place: str | int) -> None:
    with pytest.raises(ValueError, match=r"NUL|no place|characters"):
        page_token.write(ListMemoriesRequest(), place)


def test_a_token_that_is_too_long_is_refused() -> None:
    refused("A" * (page_token.LONGEST + 1), str)


def test_a_moment_is_read_in_utc_to_the_microsecond() -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
    token = page_token.write(ListMemoriesRequest(), moment)
    assert page_token.write(ListMemoriesRequest(), moment + timedelta(microseconds=1)) != token
    assert reading(token, datetime) == (moment,)


def test_fields_that_this_process_does_not_know_are_not_filters() -> None:
    newer = ListMemoriesRequest(prefix="a").SerializeToString() + bytes([0xFA, 0x3F, 1, 65])
    token = page_token.write(ListMemoriesRequest.FromString(newer), "k")
    assert reading(token, str, prefix="a") == ("k",)


@pytest.mark.parametrize(
    ("listing", "place"),
    [
        (ListUsageRequest, (LATEST, UUID(int=2**128 - 1).hex)),
        (ListChatSessionsRequest, (LATEST, UUID(int=2**128 - 1))),
        (ListMessagesRequest, (2**31 - 1,)),
        (ListChatMessagesRequest, (2**31 - 1,)),
        (QueryLogsRequest, (2**63 - 1, 2**63 - 1)),
        (ListMemoriesRequest, ("\x01" * 512,)),
        (ListMemoriesRequest, ("\U0010ffff" * 512,)),
    ],
)
def test_the_longest_place_of_a_list_fits_its_contract(listing: type[Message], place: tuple[Any, ...]) -> None:
    field = listing.DESCRIPTOR.fields_by_name["page_token"]
    most = field.GetOptions().Extensions[validate_pb2.field].string.max_len
    assert 0 < len(page_token.write(listing(), *place)) <= most


@pytest.mark.parametrize(("found", "page", "more"), [("", "", False), ("ab", "ab", False), ("abc", "ab", True)])
def test_one_entry_more_than_the_page_says_that_there_is_a_next_one(found: str, page: str, more: bool) -> None:
    request = ListMemoriesRequest()
    entries, token = page_token.cut(request, found, 2, lambda last: (last,))
    assert (entries, bool(token)) == (page, more)
    if more:
        request.page_token = token
        assert page_token.read(request, str) == ("b",)
