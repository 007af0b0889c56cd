"""Every failure has OpenAI's status and error body, and OpenAI's client raises the class for it."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx
import openai as sdk
import pytest
from openai import AsyncOpenAI

from gateway.edge.openai.failures import NO_RETRY, error_response
from services.mesh.call import errors
from tests.fakes.chat import Step, delta, spoken, started
from tests.gateway.edge.conftest import KEY, Stand, standing

ASK: dict[str, Any] = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}]}

KINDS: list[tuple[Exception, int, type[sdk.APIStatusError], str, str | None]] = [
    (errors.InvalidArgument("no"), 400, sdk.BadRequestError, "invalid_request_error", None),
    (errors.FailedPrecondition("no"), 400, sdk.BadRequestError, "invalid_request_error", "failed_precondition"),
    (errors.Unauthenticated("no"), 401, sdk.AuthenticationError, "invalid_request_error", "invalid_api_key"),
    (
        errors.PermissionDenied("no", reason="POLICY_DENIED"),
        403,
        sdk.PermissionDeniedError,
        "permission_error",
        "policy_denied",
    ),
    (
        errors.NotFound("no", reason="MODEL_NOT_FOUND"),
        404,
        sdk.NotFoundError,
        "invalid_request_error",
        "model_not_found",
    ),
    (errors.Aborted("no"), 409, sdk.ConflictError, "invalid_request_error", "conflict"),
    (errors.ResourceExhausted("no"), 429, sdk.RateLimitError, "requests", "rate_limit_exceeded"),
    (errors.Cancelled("no"), 499, sdk.APIStatusError, "request_cancelled", "cancelled"),
    (errors.Internal("no"), 500, sdk.InternalServerError, "server_error", None),
    (errors.Unimplemented("no"), 501, sdk.InternalServerError, "server_error", "unimplemented"),
    (errors.Unavailable("no"), 503, sdk.InternalServerError, "server_error", "dependency_unavailable"),
    (errors.DeadlineExceeded("no"), 504, sdk.InternalServerError, "server_error", "deadline_exceeded"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("failure", "status", "raised", "kind", "code"), KINDS)
async def test_a_failure_before_the_first_event_has_its_status_streaming_or_not(
    openai: AsyncOpenAI,
    stand: Stand,
    failure: Exception,
    status: int,
    raised: type[sdk.APIStatusError],
    kind: str,
    code: str | None,
    stream: bool,
) -> None:
    stand.chat.script = [failure]
    with pytest.raises(raised) as caught:
        await openai.chat.completions.create(**ASK | {"stream": stream})
    assert caught.value.status_code == status
    assert caught.value.body == {"message": "no", "type": kind, "param": None, "code": code}
    assert caught.value.request_id


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_fails_before_its_first_text_gets_an_error_status(
    openai: AsyncOpenAI, stand: Stand, stream: bool
) -> None:
    stand.chat.script = [started(), errors.ResourceExhausted("no", reason="PROVIDER_RATE_LIMITED", retry_after=3)]
    with pytest.raises(sdk.RateLimitError) as caught:
        await openai.chat.completions.create(**ASK | {"stream": stream})
    assert caught.value.response.headers["retry-after"] == "3"


async def test_an_unexpected_exception_is_an_internal_error_without_its_text(openai: AsyncOpenAI, stand: Stand) -> None:
    stand.chat.script = [RuntimeError("secret")]
    with pytest.raises(sdk.InternalServerError) as caught:
        await openai.chat.completions.create(**ASK)
    assert caught.value.body == {"message": "internal error", "type": "server_error", "param": None, "code": None}


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (errors.ResourceExhausted("later", retry_after=7.2), "8"),
        (errors.ResourceExhausted("later"), "1"),
        (errors.Unavailable("later", retry_after=0.2), "1"),
        (errors.Unavailable("later"), "1"),
    ],
)
async def test_a_temporary_failure_has_a_retry_after_header(
    http: httpx.AsyncClient, stand: Stand, failure: Exception, seconds: str
) -> None:
    stand.chat.script = [failure]
    answer = await http.post("/v1/chat/completions", json=ASK)
    assert answer.headers["retry-after"] == seconds


async def test_openais_client_retries_a_failure_with_a_retry_after_header(stand: Stand) -> None:
    stand.chat.script = [errors.Unavailable("later", retry_after=0.1)]
    async with AsyncOpenAI(base_url=f"{stand.url}/v1", api_key=KEY, max_retries=1) as client:
        with pytest.raises(sdk.InternalServerError):
            await client.chat.completions.create(**ASK)
    assert len(stand.chat.requests) == 2


async def test_openais_client_does_not_retry_a_permanent_failure(stand: Stand) -> None:
    async with AsyncOpenAI(base_url=f"{stand.url}/v1", api_key=KEY, max_retries=1) as client:
        for failure in (errors.Unimplemented("never"), errors.Internal("no JSON", reason="OUTPUT_INVALID")):
            stand.chat.script = [failure]
            with pytest.raises(sdk.InternalServerError):
                await client.chat.completions.create(**ASK)
    assert len(stand.chat.requests) == 2


async def test_attempts_with_one_idempotency_key_are_one_request_to_the_mesh(openai: AsyncOpenAI, stand: Stand) -> None:
    for key in ("a", "a", "b", None):
        headers = {"Idempotency-Key": key} if key else {}
        await openai.chat.completions.create(**ASK, extra_headers=headers)
        await openai.responses.create(model="plain", input="Hi", extra_headers=headers)
    for ids in ([each.request_id for each in asked] for asked in (stand.chat.requests, stand.responses.requests)):
        assert ids[0] == ids[1] != ids[2] != ids[3] == ""


async def test_a_backend_that_is_down_is_503(redis_url: str) -> None:
    async with (
        standing("socket", redis_url) as stand,
        AsyncOpenAI(base_url=f"{stand.url}/v1", api_key=KEY, max_retries=0) as client,
    ):
        await stand.backend.stop(0.0)
        with pytest.raises(sdk.InternalServerError) as caught:
            await client.chat.completions.create(**ASK)
    assert caught.value.status_code == 503
    assert caught.value.response.headers["retry-after"] == "1"


BROKEN: list[tuple[Sequence[Step], str | None]] = [
    ([started(), delta("Hel"), errors.Unavailable("gone", reason="UPSTREAM_LOST")], "upstream_lost"),
    ([started(), delta("Hel"), RuntimeError("secret")], None),
    ([started(), delta("Hel")], "stream_cut"),
]


@pytest.mark.parametrize(("script", "code"), BROKEN)
async def test_a_failure_after_the_first_chunk_is_the_last_event_and_no_done_follows(
    http: httpx.AsyncClient, stand: Stand, script: Sequence[Step], code: str | None
) -> None:
    stand.chat.script = script
    answer = await http.post("/v1/chat/completions", json=ASK | {"stream": True})
    assert answer.status_code == 200
    events = answer.text.split("\n\n")
    assert "[DONE]" not in answer.text
    assert events[-1] == ""
    error = json.loads(events[-2].removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("server_error", code)
    assert "secret" not in answer.text


@pytest.mark.parametrize(("script", "code"), BROKEN)
async def test_openais_client_raises_for_a_stream_that_breaks(
    openai: AsyncOpenAI, stand: Stand, script: Sequence[Step], code: str | None
) -> None:
    stand.chat.script = script
    stream = await openai.chat.completions.create(**ASK | {"stream": True})
    texts: list[str | None] = []

    async def read() -> None:
        async for chunk in stream:
            texts.append(chunk.choices[0].delta.content)

    with pytest.raises(sdk.APIError) as caught:
        await read()
    assert texts == ["", "Hel"]
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("script", "stream"),
    [([], False), ([started()], False), ([], True), ([started()], True), ([delta("early"), *spoken("x")], True)],
)
async def test_an_answer_that_was_cut_off_is_never_taken_for_complete(
    openai: AsyncOpenAI, stand: Stand, script: Sequence[Step], stream: bool
) -> None:
    stand.chat.script = script
    with pytest.raises(sdk.InternalServerError) as caught:
        await openai.chat.completions.create(**ASK | {"stream": stream})
    assert (caught.value.status_code, caught.value.code) == (503, "stream_cut")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": "Bearer"},
        {"x-api-key": "wrong"},
        {"authorization": "Bearer schlüssel"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/chat/completions"), ("GET", "/v1/models")])
async def test_a_missing_or_wrong_key_is_401_before_anything_is_read(
    stand: Stand, headers: dict[str, str], method: str, path: str
) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    async with httpx.AsyncClient(base_url=stand.url, headers=raw) as client:
        answer = await client.request(method, path, content=b"not json" if method == "POST" else None)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert not stand.chat.requests


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_either_header_carries_the_key(stand: Stand, header: str) -> None:
    value = f"Bearer {KEY}" if header == "authorization" else KEY
    async with httpx.AsyncClient(base_url=stand.url, headers={header: value}) as client:
        assert (await client.get("/v1/models")).status_code == 200


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/models/", "/v1/complete", "/v2/chat/completions"])
async def test_an_unknown_path_is_an_openai_shaped_404(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "message": f"Invalid URL (GET {path})",
        "type": "invalid_request_error",
        "param": None,
        "code": "unknown_url",
    }


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/chat/completions"), ("POST", "/v1/models"), ("DELETE", "/v1/models/plain")]
)
async def test_a_known_path_with_another_method_is_405_with_the_allowed_methods(
    http: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == ("POST" if "chat" in path else "GET")
    assert answer.json()["error"]["code"] == "method_not_supported"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413(http: httpx.AsyncClient, stand: Stand, chunked: bool) -> None:
    body = json.dumps(ASK | {"messages": [{"role": "user", "content": "x" * 200_000}]}).encode()

    async def pieces() -> Any:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    answer = await http.post("/v1/chat/completions", content=pieces() if chunked else body)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"
    assert not stand.chat.requests
    assert (await http.post("/v1/chat/completions", json=ASK)).status_code == 200


async def test_a_body_that_arrives_in_pieces_is_read_completely(http: httpx.AsyncClient, stand: Stand) -> None:
    async def pieces() -> Any:
        for byte in json.dumps(ASK).encode():
            yield bytes([byte])
            await asyncio.sleep(0)

    assert (await http.post("/v1/chat/completions", content=pieces())).status_code == 200
    assert stand.chat.requests[0].messages[0].content == "Hi"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 50_000,
        b'{"a":' * 5_000,
        rb'{"messages": [{"role": "user", "content": "\ud800"}], "input": "\ud800"}',
        b'{"messages": [{"role": "user", "content": "\xff"}], "input": "\xff"}',
    ],
    ids=["a deep array", "a deep object", "half of a character", "no UTF-8"],
)
async def test_a_body_that_is_no_json_is_400_in_openais_shape(
    http: httpx.AsyncClient, stand: Stand, path: str, body: bytes
) -> None:
    answer = await http.post(path, content=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", None)
    assert error["message"].startswith("We could not parse the JSON body of your request")
    assert stand.chat.requests == stand.responses.requests == []


async def test_a_rule_of_the_contract_names_its_field_as_the_parameter(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json=ASK | {"user": "x" * 300})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "user"


async def test_every_answer_has_a_request_id_which_is_the_gateways_if_it_sent_one(
    stand: Stand, http: httpx.AsyncClient
) -> None:
    given = await http.get("/v1/models", headers={"x-request-id": "abc-123"})
    assert given.headers["x-request-id"] == "abc-123"
    made = [(await http.get(path)).headers["x-request-id"] for path in ("/v1/models", "/nowhere")]
    assert all(each.startswith("req_") for each in made)
    assert len(set(made)) == 2
    answer = await http.post("/v1/chat/completions", json=ASK)
    assert int(answer.headers["openai-processing-ms"]) >= 0


def test_a_reason_may_have_another_http_status_than_its_code() -> None:
    assert error_response(errors.ResourceExhausted("no", reason="PAYLOAD_TOO_LARGE")).status == 413


def test_a_reason_with_another_code_than_declared_gets_the_http_status_of_its_code() -> None:
    # A service of another version may have contracts in which the reason has another code.
    newer = errors.relayed(errors.Code.UNAVAILABLE, "no", reason="PAYLOAD_TOO_LARGE", facts=errors.Facts())
    unknown = errors.relayed(errors.Code.NOT_FOUND, "no", reason="OF_TOMORROW", facts=errors.Facts())
    assert [error_response(each).status for each in (newer, unknown)] == [503, 404]


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (errors.Unavailable("full", reason="STORAGE_FULL"), True),
        (errors.Internal("no", reason="OUTPUT_INVALID"), True),
        (errors.Unimplemented("no"), True),
        (errors.Unavailable("away", reason="POSTGRES_UNAVAILABLE"), False),
        (errors.Unavailable("away", reason="OF_TOMORROW"), False),
        (errors.NotFound("no", reason="MODEL_NOT_FOUND"), False),
    ],
)
def test_an_error_that_cannot_be_retried_has_a_header_against_retries(error: errors.MeshError, final: bool) -> None:
    assert (NO_RETRY in error_response(error).headers) is final
