"""Errors over Anthropic's protocol: their types, statuses and messages."""

from typing import Any

import httpx
import pytest
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.errors import FieldViolation, MeshError
from tests.fakes.chat import started
from tests.gateway.edge.conftest import KEY, Stand

PATH, COUNT = "/v1/messages", "/v1/messages/count_tokens"
HI: dict[str, Any] = {"model": "plain", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}


def unsupported(field: str) -> MeshError:
    return errors.InvalidArgument(
        "no", reason=reasons.PARAMETER_NOT_SUPPORTED, violations=[FieldViolation(field, "is not supported")]
    )


FAILURES: list[tuple[MeshError, int, str, str]] = [
    (errors.InvalidArgument("bad"), 400, "invalid_request_error", "bad"),
    (errors.PermissionDenied("no"), 403, "permission_error", "no"),
    (errors.NotFound("gone", reason=reasons.MODEL_NOT_FOUND), 404, "not_found_error", "gone"),
    (errors.ResourceExhausted("slow down", reason=reasons.PROVIDER_RATE_LIMITED), 429, "rate_limit_error", "slow down"),
    (errors.Unavailable("away", reason=reasons.PROVIDER_UNAVAILABLE), 529, "overloaded_error", "away"),
    (errors.Internal("internal error"), 500, "api_error", "internal error"),
    (errors.DeadlineExceeded("too late"), 504, "timeout_error", "too late"),
    (
        unsupported("sampling.top_k"),
        400,
        "invalid_request_error",
        "top_k: not supported by the provider of this model",
    ),
    (
        unsupported("tools"),
        400,
        "invalid_request_error",
        "tools: tools of Anthropic's own types are not supported by the provider of this model",
    ),
]


@pytest.mark.parametrize(("failure", "status", "kind", "message"), FAILURES)
async def test_an_error_has_anthropics_type_status_and_request_id(
    http: httpx.AsyncClient, stand: Stand, failure: MeshError, status: int, kind: str, message: str
) -> None:
    stand.chat.script = [failure]
    for members in ({}, {"stream": True}):
        answer = await http.post(PATH, json=HI | members)
        assert answer.status_code == status
        said = answer.json()
        assert said == {"type": "error", "error": {"type": kind, "message": message}, "request_id": said["request_id"]}
        assert answer.headers.get_list("request-id") == [said["request_id"]]


async def test_a_limit_says_when_to_come_back(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.chat.script = [errors.ResourceExhausted("slow down", reason=reasons.PROVIDER_RATE_LIMITED, retry_after=7.0)]
    answer = await http.post(PATH, json=HI)
    assert answer.headers["retry-after"] == "7"
    assert "x-should-retry" not in answer.headers


async def test_an_answer_that_breaks_off_before_its_first_piece_has_a_status(
    http: httpx.AsyncClient, stand: Stand
) -> None:
    stand.chat.script = [started()]
    for members in ({}, {"stream": True}):
        answer = await http.post(PATH, json=HI | members)
        assert (answer.status_code, answer.json()["error"]["type"]) == (529, "overloaded_error")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": None}, "max_tokens: Input should be an integer"),
    ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
    ({"messages": []}, "messages: List should have at least 1 items"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: Input should be one of"),
    ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text: Field required"),
    (
        {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use", "id": "a", "name": "b"}]}]},
        "messages.0.content.0.type: Input should be one of",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": {}}]}]},
        "messages.0.content.0: a block of the type `tool_use` cannot be in a turn of `user`",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "AA=="}}]}]},
        "messages.0.content.0.source.media_type: Field required",
    ),
    ({"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
    ({"tools": [{"name": "look"}]}, "tools.0.input_schema: Field required"),
    ({"tool_choice": {"type": "tool"}, "tools": [{"name": "a", "input_schema": {}}]}, "tool_choice.name: Field"),
    ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: Field required"),
]


@pytest.mark.parametrize(("members", "message"), WRONG)
async def test_a_wrong_member_is_named_by_its_path(
    http: httpx.AsyncClient, stand: Stand, members: dict[str, Any], message: str
) -> None:
    answer = await http.post(PATH, json=HI | members)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["message"].startswith(message)
    assert stand.chat.requests == []


@pytest.mark.parametrize("path", [PATH, COUNT])
@pytest.mark.parametrize("version", [None, "2099-01-01"])
async def test_the_version_of_the_api_is_required(http: httpx.AsyncClient, path: str, version: str | None) -> None:
    del http.headers["anthropic-version"]
    answer = await http.post(path, json=HI, headers={"anthropic-version": version} if version else {})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("anthropic-version: ")


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
async def test_both_versions_are_served(http: httpx.AsyncClient, version: str) -> None:
    answer = await http.post(PATH, json=HI, headers={"anthropic-version": version})
    assert answer.status_code == 200


async def test_a_wrong_key_is_refused_and_both_headers_take_the_right_one(
    stand: Stand, http: httpx.AsyncClient
) -> None:
    for headers, status in (({"x-api-key": "wrong"}, 401), ({"x-api-key": KEY}, 200)):
        assert (await http.post(PATH, json=HI, headers=headers)).status_code == status
    del http.headers["x-api-key"]
    assert (await http.post(PATH, json=HI)).json()["error"]["type"] == "authentication_error"
    assert (await http.post(PATH, json=HI, headers={"authorization": f"Bearer {KEY}"})).status_code == 200


async def test_a_body_that_is_too_large_or_no_json_is_refused(http: httpx.AsyncClient) -> None:
    large = await http.post(PATH, content=b'"' + b"x" * 100_000 + b'"')
    assert (large.status_code, large.json()["error"]["type"]) == (413, "request_too_large")
    broken = await http.post(PATH, content=b"{")
    assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_another_method_is_refused_in_the_same_shape(http: httpx.AsyncClient) -> None:
    answer = await http.get(PATH)
    assert (answer.status_code, answer.json()["error"]["type"]) == (405, "invalid_request_error")
    assert answer.headers["allow"] == "POST"
