"""`soma call`: calls any method by its name, found by reflection."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cli.endpoint import Endpoint
from services.mesh.call.errors import Code
from tests.cli.commands import Result, soma
from tests.cli.mesh import ScriptedChat, serving

ECHO = "soma.testing.v1.EchoService"


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with serving(ScriptedChat()) as endpoint:
        yield endpoint


async def call(endpoint: Endpoint, *arguments: str | Path) -> Result:
    return await soma("call", *arguments, "--url", endpoint.url, "--key", endpoint.key or "")


def error_of(ended: Result) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(ended.errors)["error"]
    return error


@pytest.mark.parametrize(
    "name", [f"{ECHO}/Echo", f"/{ECHO}/Echo", f"{ECHO}.Echo", "EchoService/Echo", "testing.v1.EchoService.Echo"]
)
async def test_a_method_is_found_by_its_full_name_or_the_end_of_it(endpoint: Endpoint, name: str) -> None:
    ended = await call(endpoint, name, '{"text": "hello"}')
    assert (ended.status, ended.errors) == (0, "")
    assert json.loads(ended.output)["text"] == "hello"


async def test_a_server_stream_prints_one_line_for_each_message(endpoint: Endpoint) -> None:
    ended = await call(endpoint, "EchoService/StreamEcho", '{"text": "x", "script": {"count": 3}}')
    assert [json.loads(line)["sequence"] for line in ended.output.splitlines()] == [0, 1, 2]


async def test_a_client_stream_takes_an_array(endpoint: Endpoint) -> None:
    ended = await call(endpoint, "EchoService/CollectEchoes", '[{"text": "a"}, {"text": "b", "last": true}]')
    answer = json.loads(ended.output)
    assert (answer["count"], answer["complete"]) == (2, True)


async def test_both_sides_may_stream(endpoint: Endpoint) -> None:
    ended = await call(endpoint, "EchoService/ChatEchoes", '[{"text": "a"}, {"text": "b"}]')
    assert [json.loads(line)["text"] for line in ended.output.splitlines()] == ["a", "b"]


async def test_the_request_is_read_from_a_file(endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text('{"text": "from a file"}')
    ended = await call(endpoint, "EchoService/Echo", "-d", f"@{tmp_path / 'request.json'}")
    assert json.loads(ended.output)["text"] == "from a file"


async def test_metadata_travels_with_the_call(endpoint: Endpoint) -> None:
    ended = await call(endpoint, "EchoService/Echo", "{}", "-H", "X-Test-Flavour: vanilla")
    assert json.loads(ended.output)["observation"]["metadata"] == ["x-test-flavour=vanilla"]


async def test_a_failed_call_is_a_typed_error_on_standard_error_and_an_exit_status(endpoint: Endpoint) -> None:
    ended = await call(endpoint, "EchoService/Echo", '{"script": {"fail_code": 5, "fail_message": "no such thing"}}')
    assert ended.status == 64 + Code.NOT_FOUND
    assert ended.output == ""
    error = error_of(ended)
    assert (error["code"], error["status"], error["message"]) == (5, "NOT_FOUND", "no such thing")


async def test_an_error_of_the_contract_names_the_field(endpoint: Endpoint) -> None:
    ended = await call(endpoint, "EchoService/Echo", '{"script": {"hops": 99}}')
    assert ended.status == 64 + Code.INVALID_ARGUMENT
    assert [violation["field"] for violation in error_of(ended)["violations"]] == ["script.hops"]


@pytest.mark.parametrize("text", ["{", '{"no_such_field": 1}', "[]", '{"text": 5}'])
async def test_a_text_that_does_not_match_the_request_is_refused_before_it_is_sent(
    endpoint: Endpoint, text: str
) -> None:
    ended = await call(endpoint, "EchoService/Echo", text)
    assert ended.status == 64 + Code.INVALID_ARGUMENT
    assert error_of(ended)["reason"] == "REQUEST_MALFORMED"


async def test_a_wrong_key_is_unauthenticated(endpoint: Endpoint) -> None:
    ended = await call(Endpoint(endpoint.url, "wrong"), "EchoService/Echo")
    assert ended.status == 64 + Code.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("name", "expected"), [("NoService/Echo", "soma.testing.v1.EchoService"), ("EchoService/No", "StreamEcho")]
)
async def test_an_unknown_name_is_answered_with_the_existing_ones(endpoint: Endpoint, name: str, expected: str) -> None:
    ended = await call(endpoint, name)
    assert ended.status == 64 + Code.NOT_FOUND
    assert expected in error_of(ended)["message"]


async def test_without_a_name_the_methods_are_listed(endpoint: Endpoint) -> None:
    ended = await call(endpoint)
    assert ended.errors == ""
    listed = ended.output.splitlines()
    assert f"{ECHO}/StreamEcho" in listed
    assert "soma.orchestrator.v1.ChatService/Chat" in listed


async def test_without_a_stack_it_says_how_to_start_one(tmp_path: Path) -> None:
    ended = await soma("call", "EchoService/Echo", "--data-dir", tmp_path)
    assert ended.status == 1
    assert "soma up --dev" in ended.errors


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--url", "localhost:8080"), "--url: the URL has no scheme; write http://localhost:8080"),
        (("--url", "http://h:99999"), "--url: the URL has a host or a port that is none"),
        (("--url", "http://user:hunter2@h"), "--url: the URL holds a user or a password"),
        (("--url", "http://h", "--key", "hunter2\nhunter3"), "SOMA_API_KEY in the environment: character 8 of the key"),
    ],
)
async def test_an_invalid_url_or_key_is_refused_before_anything_is_sent(given: tuple[str, ...], said: str) -> None:
    ended = await soma("call", "EchoService/Echo", *given)
    assert (ended.status, ended.output) == (1, "")
    assert said in ended.errors
    assert "hunter" not in ended.errors


async def test_a_key_is_sent_without_the_line_end_of_its_file(endpoint: Endpoint) -> None:
    ended = await soma(
        "call", "EchoService/Echo", '{"text": "hello"}', "--url", endpoint.url, "--key", f"{endpoint.key}\r\n"
    )
    assert (ended.status, ended.errors) == (0, "")
