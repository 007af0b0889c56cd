"""`soma call`: any method by name, found by reflection."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cli.door import Door
from services.mesh.call.errors import Code
from tests.cli.commands import Ended, soma
from tests.cli.mesh import ScriptedChat, serving

ECHO = "soma.testing.v1.EchoService"


@pytest.fixture
async def entrance() -> AsyncIterator[Door]:
    async with serving(ScriptedChat()) as door:
        yield door


async def call(door: Door, *arguments: str | Path) -> Ended:
    return await soma("call", *arguments, "--url", door.url, "--key", door.key or "")


def error_of(ended: Ended) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(ended.errors)["error"]
    return error


@pytest.mark.parametrize(
    "name", [f"{ECHO}/Echo", f"/{ECHO}/Echo", f"{ECHO}.Echo", "EchoService/Echo", "testing.v1.EchoService.Echo"]
)
async def test_a_method_is_found_by_its_full_name_or_the_end_of_it(entrance: Door, name: str) -> None:
    ended = await call(entrance, name, '{"text": "hello"}')
    assert (ended.status, ended.errors) == (0, "")
    assert json.loads(ended.output)["text"] == "hello"


async def test_a_server_stream_prints_one_line_for_each_message(entrance: Door) -> None:
    ended = await call(entrance, "EchoService/StreamEcho", '{"text": "x", "script": {"count": 3}}')
    assert [json.loads(line)["sequence"] for line in ended.output.splitlines()] == [0, 1, 2]


async def test_a_client_stream_takes_an_array(entrance: Door) -> None:
    ended = await call(entrance, "EchoService/CollectEchoes", '[{"text": "a"}, {"text": "b", "last": true}]')
    answer = json.loads(ended.output)
    assert (answer["count"], answer["complete"]) == (2, True)


async def test_both_streams_at_once(entrance: Door) -> None:
    ended = await call(entrance, "EchoService/ChatEchoes", '[{"text": "a"}, {"text": "b"}]')
    assert [json.loads(line)["text"] for line in ended.output.splitlines()] == ["a", "b"]


async def test_the_request_is_read_from_a_file(entrance: Door, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text('{"text": "from a file"}')
    ended = await call(entrance, "EchoService/Echo", "-d", f"@{tmp_path / 'request.json'}")
    assert json.loads(ended.output)["text"] == "from a file"


async def test_metadata_travels_with_the_call(entrance: Door) -> None:
    ended = await call(entrance, "EchoService/Echo", "{}", "-H", "X-Test-Flavour: vanilla")
    assert json.loads(ended.output)["observation"]["metadata"] == ["x-test-flavour=vanilla"]


async def test_a_failed_call_is_a_typed_error_on_standard_error_and_an_exit_status(entrance: Door) -> None:
    ended = await call(entrance, "EchoService/Echo", '{"script": {"fail_code": 5, "fail_message": "no such thing"}}')
    assert ended.status == 64 + Code.NOT_FOUND
    assert ended.output == ""
    error = error_of(ended)
    assert (error["code"], error["status"], error["message"]) == (5, "NOT_FOUND", "no such thing")


async def test_what_a_contract_refuses_names_the_field(entrance: Door) -> None:
    ended = await call(entrance, "EchoService/Echo", '{"script": {"hops": 99}}')
    assert ended.status == 64 + Code.INVALID_ARGUMENT
    assert [violation["field"] for violation in error_of(ended)["violations"]] == ["script.hops"]


@pytest.mark.parametrize("text", ["{", '{"no_such_field": 1}', "[]", '{"text": 5}'])
async def test_what_is_not_the_request_is_refused_before_it_is_sent(entrance: Door, text: str) -> None:
    ended = await call(entrance, "EchoService/Echo", text)
    assert ended.status == 64 + Code.INVALID_ARGUMENT
    assert error_of(ended)["reason"] == "REQUEST_MALFORMED"


async def test_a_wrong_key_is_unauthenticated(entrance: Door) -> None:
    ended = await call(Door(entrance.url, "wrong"), "EchoService/Echo")
    assert ended.status == 64 + Code.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("name", "told"), [("NoService/Echo", "soma.testing.v1.EchoService"), ("EchoService/No", "StreamEcho")]
)
async def test_a_name_that_is_not_there_is_told_what_is(entrance: Door, name: str, told: str) -> None:
    ended = await call(entrance, name)
    assert ended.status == 64 + Code.NOT_FOUND
    assert told in error_of(ended)["message"]


async def test_without_a_name_the_methods_are_listed(entrance: Door) -> None:
    ended = await call(entrance)
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
async def test_a_door_that_cannot_be_is_refused_before_anything_is_sent(given: tuple[str, ...], said: str) -> None:
    ended = await soma("call", "EchoService/Echo", *given)
    assert (ended.status, ended.output) == (1, "")
    assert said in ended.errors
    assert "hunter" not in ended.errors


async def test_a_key_is_sent_without_the_line_end_of_its_file(entrance: Door) -> None:
    ended = await soma(
        "call", "EchoService/Echo", '{"text": "hello"}', "--url", entrance.url, "--key", f"{entrance.key}\r\n"
    )
    assert (ended.status, ended.errors) == (0, "")
