"""The contracts over REST: every binding answers, and every error has the same JSON shape."""

import uuid

import httpx
import pytest

from tests.e2e.contracts import BINDINGS, UNSERVED, Binding
from tests.e2e.owned import owned
from tests.e2e.scripted import MODEL
from tests.e2e.surfaces import events


@pytest.mark.parametrize("binding", BINDINGS, ids=str)
async def test_every_binding_answers(http: httpx.AsyncClient, binding: Binding) -> None:
    path = binding.path.format(**await owned(http))
    if "{dead_letter_id}" in binding.path:
        # A dead letter takes an event that failed five times: `test_events` replays one.
        missing = await http.request(binding.verb, path, json=binding.body)
        assert (missing.status_code, missing.json()["error"]["status"]) == (404, "NOT_FOUND")
        return
    # Some streams never end, so the test reads only the beginning.
    async with http.stream(binding.verb, path, json=binding.body) as answer:
        if binding.rpc in UNSERVED:
            await answer.aread()
            reasons = [detail.get("reason") for detail in answer.json()["error"]["details"]]
            assert UNSERVED[binding.rpc] in reasons, answer.text
            return
        if answer.status_code != 200 or not binding.streams:
            await answer.aread()
            assert answer.status_code == 200, answer.text
    expected = "text/event-stream" if binding.streams else "application/json"
    assert answer.headers["content-type"].startswith(expected)
    assert answer.headers["x-request-id"]


async def test_a_value_is_remembered_recalled_and_found_by_meaning(http: httpx.AsyncClient) -> None:
    key = f"user:7/pets/{uuid.uuid4()}"
    stored = await http.post(
        "/v1/remember", json={"key": key, "value": {"text": "The walrus in the cellar is named Ottokar."}}
    )
    assert stored.json()["status"] == "stored"
    assert stored.json()["embedding_dimensions"] == 384
    recalled = await http.get(f"/v1/recall/{key}")
    assert recalled.json()["value"] == {"text": "The walrus in the cellar is named Ottokar."}
    assert recalled.json()["accessed_count"] == 1
    found = await http.post(
        "/v1/rag/retrieve",
        json={"query": "what is the walrus in the cellar called?", "score_threshold": 0.3, "top_k": 3},
    )
    assert key in found.json()["sources"]
    assert "Ottokar" in found.json()["answer"]


async def test_a_chat_streams_typed_events_to_the_final_one(http: httpx.AsyncClient) -> None:
    kinds: list[str] = []
    body = {"model": MODEL, "messages": [_said("hello")]}
    async with http.stream("POST", "/v1/chat", json=body) as answer:
        async for data in events(answer):
            event = httpx.Response(200, text=data).json()
            assert event["sequence"] == len(kinds)
            kinds.append(next(name for name in event if name != "sequence"))
    assert kinds[0] == "started"
    assert set(kinds[1:-1]) == {"delta"}
    assert kinds[-1] == "finished"


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "name"),
    [
        ("GET", "/v1/recall/no/such/key", None, 404, "NOT_FOUND"),
        ("POST", "/v1/rag/retrieve", {"query": ""}, 400, "INVALID_ARGUMENT"),
        ("POST", "/v1/chat", {"messages": []}, 400, "INVALID_ARGUMENT"),
        ("POST", "/v1/chat", {"model": "no-such-model", "messages": [{"role": "ROLE_USER"}]}, 404, "NOT_FOUND"),
        ("GET", "/v1/usage?page_token=nonsense", None, 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/usage?no_such_parameter=1", None, 400, "INVALID_ARGUMENT"),
        ("POST", "/v1/remember", "{broken", 400, "INVALID_ARGUMENT"),
    ],
)
async def test_every_error_has_the_same_shape(
    http: httpx.AsyncClient, verb: str, path: str, body: dict[str, object] | str | None, status: int, name: str
) -> None:
    if isinstance(body, str):
        answer = await http.request(verb, path, content=body)
    else:
        answer = await http.request(verb, path, json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == (status, name)
    assert error["message"]
    infos = [detail for detail in error["details"] if detail.get("domain") == "soma"]
    assert len(infos) == 1
    assert infos[0]["reason"]


def _said(text: str) -> dict[str, str]:
    return {"role": "ROLE_USER", "content": text}
