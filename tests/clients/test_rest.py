"""All forms of REST bindings that a contract may have, with a service that has all of them."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.e2e.stack import Stack

NOTES = "/v1/testing/notes"
ECHO = "/v1/testing/echo"


@pytest.fixture
async def http(echo: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with the key, for a stack that serves notes."""
    async with echo.http() as client:
        yield client


@pytest.fixture
def tag() -> str:
    """A tag that no other test uses for its notes."""
    return uuid.uuid4().hex


async def written(http: httpx.AsyncClient, name: str, **fields: Any) -> dict[str, Any]:
    """A new note."""
    answer = await http.post(NOTES, json={"name": name, **fields})
    assert answer.status_code == 200, answer.text
    note: dict[str, Any] = answer.json()["note"]
    return note


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    """The HTTP status, the canonical status and the reason of an error; checks that there is exactly one reason."""
    error = answer.json()["error"]
    (info,) = (detail for detail in error["details"] if "reason" in detail)
    assert error["code"] == answer.status_code
    assert error["message"]
    assert answer.headers["x-request-id"]
    return answer.status_code, error["status"], info["reason"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("{}/with/slashes", "{}/with/slashes"),
        ("{}/with/slashes", "{}%2Fwith%2Fslashes"),
        ("{}:with:colons", "{}:with:colons"),
        ("{}/both:of/them", "{}/both:of%2Fthem"),
        ("{} and ä ☃?#%&+", "{}%20and%20%C3%A4%20%E2%98%83%3F%23%25%26%2B"),
        ("{}:archive", "{}%3Aarchive"),
        ("{}/", "{}%2F"),
    ],
)
async def test_a_key_may_have_any_characters(http: httpx.AsyncClient, tag: str, name: str, path: str) -> None:
    note = await written(http, name.format(tag))
    answer = await http.get(f"{NOTES}/{path.format(tag)}")
    assert answer.json() == {"note": note}


async def test_a_key_that_ends_in_a_verb_is_not_mistaken_for_another_call(http: httpx.AsyncClient, tag: str) -> None:
    await written(http, f"{tag}:archive")
    assert refused(await http.get(f"{NOTES}/{tag}:archive")) == (404, "NOT_FOUND", "NO_SUCH_PATH")


async def test_a_mask_names_the_fields_that_a_patch_changes(http: httpx.AsyncClient, tag: str) -> None:
    before = await written(http, tag, text="one", tags=["a"], place={"room": "hall", "shelf_number": 1})
    body = {"text": "two", "tags": ["b"], "place": {"room": "attic", "shelf_number": 2}}
    part = await http.patch(f"{NOTES}/{tag}?update_mask=text,place.shelf_number", json=body)
    after = part.json()["note"]
    assert after.pop("etag") != before.pop("etag")
    assert after == {**before, "text": "two", "place": {"room": "hall", "shelf_number": 2}}
    cleared = (await http.patch(f"{NOTES}/{tag}?update_mask=tags", json={})).json()["note"]
    assert cleared["tags"] == []
    whole = (await http.patch(f"{NOTES}/{tag}", json={"text": "three"})).json()["note"]
    assert (whole["text"], whole["place"]) == ("three", {"room": "hall", "shelf_number": 2})


@pytest.mark.parametrize("mask", ["nothing", "place.nothing", "etag", "name", "state"])
async def test_a_mask_with_a_field_that_cannot_change_is_refused(http: httpx.AsyncClient, tag: str, mask: str) -> None:
    before = await written(http, tag)
    answer = await http.patch(f"{NOTES}/{tag}?update_mask={mask}", json={"text": "x"})
    assert refused(answer) == (400, "INVALID_ARGUMENT", "FIELD_MASK_INVALID")
    assert mask in answer.json()["error"]["message"]
    assert (await http.get(f"{NOTES}/{tag}")).json()["note"] == before


async def test_an_update_with_an_old_etag_is_aborted(http: httpx.AsyncClient, tag: str) -> None:
    etag = (await written(http, tag))["etag"]
    first = await http.patch(f"{NOTES}/{tag}", json={"text": "mine", "etag": etag})
    second = await http.patch(f"{NOTES}/{tag}", json={"text": "theirs", "etag": etag})
    assert first.status_code == 200
    assert refused(second) == (409, "ABORTED", "ETAG_MISMATCH")


async def test_a_body_may_not_contradict_its_path(http: httpx.AsyncClient, tag: str) -> None:
    await written(http, tag)
    for answer in (
        await http.patch(f"{NOTES}/{tag}", json={"name": "another"}),
        await http.post(f"{NOTES}/{tag}:archive", json={"name": "another"}),
    ):
        assert refused(answer)[:2] == (400, "INVALID_ARGUMENT")
        assert "name" in answer.json()["error"]["message"]


async def test_a_verb_acts_on_one_or_on_all(http: httpx.AsyncClient, tag: str) -> None:
    await written(http, f"{tag}/a", tags=[tag])
    await written(http, f"{tag}/b:c", tags=[tag])
    archived = await http.post(f"{NOTES}/{tag}/b:c:archive", json={"reason": "old"})
    assert (archived.json()["note"]["state"], archived.json()["note"]["text"]) == ("STATE_ARCHIVED", "old")
    without_body = await http.post(f"{NOTES}/{tag}/a:archive")
    assert without_body.json()["note"]["state"] == "STATE_ARCHIVED"
    assert (await http.get(f"{NOTES}:count", params={"tags": tag})).json() == {"count": 2}
    assert refused(await http.post(f"{NOTES}:count")) == (405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED")
    assert refused(await http.get(f"{NOTES}:nothing")) == (404, "NOT_FOUND", "NO_SUCH_PATH")


async def test_filters_are_repeated_and_nested_in_the_query(http: httpx.AsyncClient, tag: str) -> None:
    await written(http, f"{tag}/1", tags=[tag, "red"], place={"room": "hall", "shelf_number": 1})
    await written(http, f"{tag}/2", tags=[tag, "red", "round"], place={"room": "hall", "shelf_number": 2})
    await written(http, f"{tag}/3", tags=[tag])
    await http.post(f"{NOTES}/{tag}/3:archive")

    async def found(query: str) -> list[str]:
        answer = await http.get(f"{NOTES}?tags={tag}&{query}")
        assert answer.status_code == 200, answer.text
        return [note["name"].rpartition("/")[2] for note in answer.json()["notes"]]

    assert await found("tags=red") == ["1", "2"]
    assert await found("tags=red&tags=round") == ["2"]
    assert await found("place.room=hall&place.shelf_number=2") == ["2"]
    assert await found("states=STATE_ARCHIVED") == ["3"]
    assert await found("states=STATE_ARCHIVED&states=STATE_ACTIVE") == ["1", "2", "3"]


async def test_pages_end_where_the_next_begins(http: httpx.AsyncClient, tag: str) -> None:
    names = [f"{tag}/{number}:x" for number in range(5)]
    for name in names:
        await written(http, name, tags=[tag])
    pages: list[list[str]] = []
    query = {"tags": tag, "page_size": "2", "page_token": ""}
    while not pages or query["page_token"]:
        page = (await http.get(NOTES, params=query)).json()
        pages.append([note["name"] for note in page["notes"]])
        query["page_token"] = page["next_page_token"]
    assert pages == [names[:2], names[2:4], names[4:]]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("nothing=1", "nothing"),
        ("place.nothing=1", "nothing"),
        ("page_size=many", "page_size"),
        ("page_size=1000", "page_size"),
        ("states=STATE_LOST", "states"),
        ("place=hall", "place"),
    ],
)
async def test_a_query_that_the_contract_does_not_have_is_refused_by_name(
    http: httpx.AsyncClient, query: str, named: str
) -> None:
    answer = await http.get(f"{NOTES}?{query}")
    assert refused(answer)[:2] == (400, "INVALID_ARGUMENT")
    assert named in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", [ECHO, f"{ECHO}:stream"])
async def test_a_call_that_takes_longer_than_its_deadline_is_504(http: httpx.AsyncClient, path: str) -> None:
    body = {"text": "a", "script": {"delay_seconds": 30}}
    answer = await http.post(path, json=body, headers={"grpc-timeout": "300m"})
    assert refused(answer) == (504, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")


async def test_a_limit_is_429_with_a_time_to_retry(http: httpx.AsyncClient) -> None:
    script = {"fail_code": 8, "fail_message": "slow down", "retry_after_seconds": 7}
    for path in (ECHO, f"{ECHO}:stream"):
        answer = await http.post(path, json={"text": "a", "script": script})
        assert refused(answer) == (429, "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED")
        assert answer.headers["retry-after"] == "7"
        assert {"retry_delay": "7s"}.items() <= answer.json()["error"]["details"][1].items()
