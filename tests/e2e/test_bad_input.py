"""Bad input over REST and OpenAI's paths: the error says what is wrong, in the shape of the API, and is never a 5xx."""

from typing import Any

import grpc
import httpx
import pytest

from tests.e2e.stack import CALL_SECONDS, Stack

REMEMBER = "/v1/remember"
NUL = "\\u0000"


def reason_of(reply: httpx.Response) -> str:
    """The reason of an error in the shape of REST."""
    error = reply.json()["error"]
    assert set(error) == {"code", "status", "message", "details"}
    assert error["code"] == reply.status_code
    assert error["message"]
    (info,) = [each for each in error["details"] if each["@type"].endswith("/google.rpc.ErrorInfo")]
    assert info["domain"] == "soma"
    return str(info["reason"])


BODIES = {
    "unknown field": (REMEMBER, '{"key": "a", "vlaue": 1}', "UNKNOWN_FIELD"),
    "unknown nested field": ("/v1/chat", '{"messages": [{"rol": "ROLE_USER"}]}', "UNKNOWN_FIELD"),
    "duplicate key": (REMEMBER, '{"key": "a", "key": "b", "value": 1}', "DUPLICATE_FIELD"),
    "cut off": (REMEMBER, '{"key": "a', "MALFORMED_JSON"),
    "NaN": (REMEMBER, '{"key": "a", "value": NaN}', "MALFORMED_JSON"),
    "Infinity as text": ("/v1/rag/retrieve", '{"query": "a", "score_threshold": "Infinity"}', "INVALID_ARGUMENT"),
    "NaN as text": ("/v1/infer/sync", '{"prompt": "a", "temperature": "NaN"}', "INVALID_ARGUMENT"),
    "beyond a double": (REMEMBER, '{"key": "a", "value": 1e999}', "NUMBER_OUT_OF_RANGE"),
    "beyond 32 bits": (REMEMBER, '{"key": "a", "value": 1, "ttl_seconds": 2147483648}', "BAD_REQUEST"),
    "beyond 64 bits": (REMEMBER, '{"key": "a", "value": 1, "ttl_seconds": 99999999999999999999}', "BAD_REQUEST"),
    "depth bomb": (REMEMBER, '{"key": "a", "value": ' + "[" * 100_000, "TOO_DEEP"),
    "lone surrogate": (REMEMBER, '{"key": "a\\ud800", "value": 1}', "BAD_REQUEST"),
    "NUL in a key": (REMEMBER, f'{{"key": "a{NUL}", "value": 1}}', "INVALID_ARGUMENT"),
    "NUL in a conversation": (
        "/v1/generate",
        f'{{"conversation_id": "{NUL}", "messages": [{{"role": "ROLE_USER"}}]}}',
        "INVALID_ARGUMENT",
    ),
    "unknown enum": ("/v1/memory/context", '{"current_message": "a", "strategy": "NOPE"}', "BAD_REQUEST"),
    "another conversation in the body": (
        "/v1/memory/conversations/a/messages",
        '{"conversation_id": "b", "messages": [{"role": "ROLE_USER"}]}',
        "BAD_REQUEST",
    ),
}


@pytest.mark.parametrize(("path", "body", "reason"), BODIES.values(), ids=BODIES.keys())
async def test_a_bad_body_is_refused_with_its_reason(
    http: httpx.AsyncClient, path: str, body: str, reason: str
) -> None:
    reply = await http.post(path, content=body.encode())
    assert (reply.status_code, reason_of(reply)) == (400, reason), reply.text


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/usage?page_size=abc", "/v1/usage?page_size=99999999999", "/v1/usage?page_size=-1", "/v1/usage?nope=1"),
        *("/v1/usage?conversation_id=%00", "/v1/usage?conversation_id=%ff", "/v1/recall/%ff", "/v1/recall/a%00"),
        "/v1/usage?page_token=" + "x" * 600,
    ],
)
async def test_a_bad_path_or_query_is_refused(http: httpx.AsyncClient, path: str) -> None:
    reply = await http.get(path)
    assert reply.status_code == 400, reply.text
    assert reason_of(reply)


async def test_bytes_that_are_not_utf8_are_refused_on_every_surface(
    stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel
) -> None:
    rest = await http.post(REMEMBER, content=b'{"key": "\xff", "value": 1}')
    openai = await http.post("/v1/chat/completions", content=b'{"model": "\xff"}')
    recall: Any = channel.unary_unary("/soma.memory.v1.MemoryService/Recall", request_serializer=bytes)
    with pytest.raises(grpc.aio.AioRpcError) as native:
        await recall(b"\x0a\x01\xff", metadata=stack.metadata, timeout=CALL_SECONDS)
    assert (rest.status_code, reason_of(rest)) == (400, "BAD_REQUEST")
    assert openai.status_code == 400
    assert set(openai.json()["error"]) == {"message", "type", "param", "code"}
    assert native.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_compressed_bomb_is_never_unpacked(http: httpx.AsyncClient) -> None:
    reply = await http.post(REMEMBER, content=b"\x1f\x8b" + b"\0" * 1000, headers={"content-encoding": "gzip"})
    assert (reply.status_code, reason_of(reply)) == (415, "UNSUPPORTED_ENCODING")


async def test_a_body_over_the_limit_is_too_large_in_the_shape_of_its_path(http: httpx.AsyncClient) -> None:
    rest = await http.post(REMEMBER, json={"key": "a", "value": "x" * (4 << 20)})
    openai = await http.post("/v1/chat/completions", json={"key": "a", "value": "x" * 40_000_000})
    assert (rest.status_code, reason_of(rest)) == (413, "PAYLOAD_TOO_LARGE")
    assert (openai.status_code, openai.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("GET", REMEMBER, "POST"),
        ("DELETE", "/v1/memory/conversations/a/messages", "GET, POST"),
        ("POST", "/v1/recall/a/b", "DELETE, GET"),
        ("OPTIONS", "/v1/usage", "GET"),
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/docs", "GET, HEAD"),
        ("POST", "/redoc/page.js", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_refused_with_the_allowed_methods(
    http: httpx.AsyncClient, verb: str, path: str, allowed: str
) -> None:
    reply = await http.request(verb, path)
    assert (reply.status_code, reason_of(reply)) == (405, "METHOD_NOT_ALLOWED")
    assert reply.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/", "/v2/nothing", "/v1/remember/x", "/docs/nothing", "/redocx", "/v1/chat/responses/a/b"]
)
async def test_an_unknown_path_is_not_found_in_the_shape_of_rest(http: httpx.AsyncClient, path: str) -> None:
    reply = await http.get(path)
    assert (reply.status_code, reason_of(reply)) == (404, "NO_SUCH_PATH")


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/audio/voices", "/v1/chat/completion", "/v1/models/x/y"])
async def test_an_unknown_path_of_openais_api_is_not_found_in_openais_shape(http: httpx.AsyncClient, path: str) -> None:
    reply = await http.get(path)
    assert reply.status_code == 404
    assert reply.json()["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("member", "body"),
    [
        ("value", '{"key": "bad-input/number", "value": {"id": 9007199254740993}}'),
        ("metadata", '{"key": "bad-input/number", "value": 1, "metadata": {"id": 1768907445451174114}}'),
    ],
)
async def test_a_number_that_would_be_rounded_is_refused(http: httpx.AsyncClient, member: str, body: str) -> None:
    reply = await http.post(REMEMBER, content=body)
    assert (reply.status_code, reason_of(reply)) == (400, "NUMBER_NOT_EXACT")
    assert reply.json()["error"]["message"].startswith(f"{member}.id: ")
    reply = await http.post("/v1/rag/retrieve", content='{"query": "x", "filter": {"id": 1768907445451174114}}')
    assert reply.json()["error"]["message"].startswith("filter.id: ")


async def test_free_form_values_come_back_unchanged(http: httpx.AsyncClient) -> None:
    value: Any = {"not_in": {"the contract": [1, None, {"": "ä"}]}, "key": "mine"}
    stored = await http.post(REMEMBER, json={"key": "bad-input/free", "value": value, "metadata": {"any": ["a"]}})
    assert stored.status_code == 200, stored.text
    assert (await http.get("/v1/recall/bad-input/free")).json()["value"] == value
