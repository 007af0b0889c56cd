"""Chat sessions over REST, as clients use them."""

import uuid
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.e2e.scripted import MODEL

# A session that does not exist.
UNKNOWN_SESSION = uuid.UUID(int=7)
METRICS = {
    "response_time_seconds",
    "load_time_seconds",
    "prompt_eval_time_seconds",
    "generation_time_seconds",
    "prompt_tokens",
    "response_tokens",
    "total_tokens",
    "tokens_per_second",
    "context_length_chars",
    "model_name",
    "timestamp",
}


async def created(http: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    """A new session."""
    answer = await http.post("/api/v1/chat/sessions", json={"model_name": MODEL, **fields})
    assert answer.status_code == 200, answer.text
    session: dict[str, Any] = answer.json()
    return session


async def said(http: httpx.AsyncClient, session_id: str, message: str, **fields: Any) -> dict[str, Any]:
    """The answer to a message."""
    answer = await http.post(f"/api/v1/chat/sessions/{session_id}/messages", json={"message": message, **fields})
    assert answer.status_code == 200, answer.text
    reply: dict[str, Any] = answer.json()
    return reply


async def test_a_session_is_created_used_summed_up_and_deleted(http: httpx.AsyncClient) -> None:
    session = await created(
        http,
        session_type="agent_creation",
        user_id="user-123",
        title="Create Email Analysis Agent",
        config={"template": "email_processor_template", "custom_parameters": {"email_provider": "gmail"}},
    )
    path = f"/api/v1/chat/sessions/{session['id']}"
    assert (session["status"], session["session_type"], session["title"]) == (
        "active",
        "agent_creation",
        "Create Email Analysis Agent",
    )
    assert session["config"]["custom_parameters"] == {"email_provider": "gmail"}
    assert datetime.fromisoformat(session["created_at"]).tzinfo is not None

    reply = await said(http, session["id"], "Analyse my mail.", metadata={"priority": "high", "tags": ["email"]})
    assert reply["session_id"] == session["id"]
    assert reply["response"]
    assert reply["model"] == MODEL
    took = reply["performance_metrics"]
    assert set(took) == METRICS
    assert took["model_name"] == MODEL
    assert took["total_tokens"] == took["prompt_tokens"] + took["response_tokens"] > 0
    assert 0 < took["prompt_eval_time_seconds"] <= took["response_time_seconds"]
    assert took["context_length_chars"] > len("Analyse my mail.")

    messages = (await http.get(f"{path}/messages")).json()["messages"]
    assert [(each["role"], each["content"]) for each in messages] == [
        ("user", "Analyse my mail."),
        ("assistant", reply["response"]),
    ]
    assert messages[0]["metadata"] == {"priority": "high", "tags": ["email"]}

    stats = (await http.get(f"{path}/stats")).json()
    assert (stats["message_count"], stats["total_tokens"]) == (2, took["total_tokens"])
    assert stats["average_response_time_seconds"] == pytest.approx(took["response_time_seconds"])

    listed = (await http.get("/api/v1/chat/sessions", params={"user_id": "user-123"})).json()["sessions"]
    assert [each["id"] for each in listed] == [session["id"]]
    assert listed[0]["message_count"] == 2

    paused = (await http.put(f"{path}/status", json={"status": "paused"})).json()
    assert (paused["id"], paused["status"]) == (session["id"], "paused")
    refused = await http.post(f"{path}/messages", json={"message": "Still there?"})
    assert (refused.status_code, refused.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")

    assert (await http.delete(path)).json() == {"session_id": session["id"], "status": "deleted"}
    gone = await http.get(path)
    assert (gone.status_code, gone.json()["error"]["details"][0]["reason"]) == (404, "SESSION_NOT_FOUND")
    assert (await http.get(f"/v1/memory/conversations/session:{session['id']}/messages")).status_code == 404


async def test_a_session_remembers_what_was_said(http: httpx.AsyncClient) -> None:
    session = await created(http)
    first = await said(http, session["id"], "My dog is called Biscuit.")
    second = await said(http, session["id"], "What is my dog called?")
    assert second["performance_metrics"]["context_length_chars"] > first["performance_metrics"]["context_length_chars"]
    page = (await http.get(f"/api/v1/chat/sessions/{session['id']}/messages", params={"page_size": 3})).json()
    assert len(page["messages"]) == 3
    rest = await http.get(
        f"/api/v1/chat/sessions/{session['id']}/messages", params={"page_token": page["next_page_token"]}
    )
    assert [each["sequence"] for each in rest.json()["messages"]] == [4]


async def test_a_repeated_message_is_answered_once(http: httpx.AsyncClient) -> None:
    session = await created(http)
    request_id = str(uuid.uuid4())
    answers = [await said(http, session["id"], "Hello", request_id=request_id) for _ in range(2)]
    assert answers[0] == answers[1]
    assert (await http.get(f"/api/v1/chat/sessions/{session['id']}/stats")).json()["message_count"] == 2


async def test_a_stale_etag_is_a_conflict(http: httpx.AsyncClient) -> None:
    session = await created(http)
    await said(http, session["id"], "Hello")
    path = f"/api/v1/chat/sessions/{session['id']}/status"
    refused = await http.put(path, json={"status": "completed", "etag": session["etag"]})
    assert (refused.status_code, refused.json()["error"]["status"]) == (409, "ABORTED")


async def test_templates_and_models_are_listed(http: httpx.AsyncClient) -> None:
    templates = (await http.get("/api/v1/chat/templates")).json()["templates"]
    assert {"agent_wizard", "email_processor_template"} <= {each["name"] for each in templates}
    models = (await http.get("/api/v1/chat/models")).json()["models"]
    assert MODEL in {each["name"] for each in models}


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("POST", "/api/v1/chat/sessions", {"session_type": "nonsense"}),
        ("POST", "/api/v1/chat/sessions", {"title": "x" * 300}),
        ("POST", "/api/v1/chat/sessions", {"title": "a\x00b"}),
        ("POST", "/api/v1/chat/sessions", {"request_id": "not-a-uuid"}),
        ("GET", "/api/v1/chat/sessions/not-a-uuid", None),
        ("GET", "/api/v1/chat/sessions?status=running", None),
        ("GET", "/api/v1/chat/sessions?page_token=nonsense", None),
        ("GET", "/api/v1/chat/sessions?user_id=%00", None),
        ("PUT", f"/api/v1/chat/sessions/{UNKNOWN_SESSION}/status", {"status": ""}),
        ("POST", f"/api/v1/chat/sessions/{UNKNOWN_SESSION}/messages", {"message": ""}),
    ],
)
async def test_what_is_wrong_is_400_naming_the_field(
    http: httpx.AsyncClient, verb: str, path: str, body: dict[str, Any] | None
) -> None:
    answer = await http.request(verb, path, json=body)
    assert answer.status_code == 400, answer.text
    details = answer.json()["error"]["details"]
    assert any(detail.get("field_violations") or detail.get("fieldViolations") for detail in details)


async def test_a_message_may_have_its_own_deadline(http: httpx.AsyncClient) -> None:
    session = await created(http)
    path = f"/api/v1/chat/sessions/{session['id']}/messages"
    late = await http.post(path, json={"message": "Hello"}, headers={"grpc-timeout": "1m"})
    assert (late.status_code, late.json()["error"]["status"]) == (504, "DEADLINE_EXCEEDED")
    in_time = await http.post(path, json={"message": "Hello"}, headers={"grpc-timeout": "300S"})
    assert in_time.status_code == 200


@pytest.mark.parametrize(
    ("fields", "status", "reason", "said"),
    [
        ({"model_name": "soma-extract-v2"}, 404, "MODEL_NOT_FOUND", "there are: soma-extract-v1"),
        ({"model_name": "somasuite-embed-v1"}, 400, "MODEL_CAPABILITY_MISSING", "cannot hold a conversation"),
        ({"config": {"max_iterations": 10}}, 400, "CONFIG_NOT_SUPPORTED", "config.max_iterations"),
    ],
)
async def test_a_session_whose_settings_its_model_cannot_fulfil_is_not_created(
    http: httpx.AsyncClient, fields: dict[str, Any], status: int, reason: str, said: str
) -> None:
    answer = await http.post("/api/v1/chat/sessions", json=fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["details"][0]["reason"]) == (status, reason)
    assert said in error["message"]


async def test_a_status_or_an_id_of_an_agent_is_refused_by_name(http: httpx.AsyncClient) -> None:
    session = await created(http)
    path = f"/api/v1/chat/sessions/{session['id']}/status"
    registered = await http.put(path, json={"status": "registered"})
    assert registered.status_code == 400
    assert all(word in registered.text for word in ("status", "active", "paused", "completed", "archived"))
    agent = await http.put(path, json={"status": "completed", "agent_id": "a-1"})
    assert agent.status_code == 400
    assert "agent_id" in agent.text
