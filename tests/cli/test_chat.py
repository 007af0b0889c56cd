"""`soma chat`: a streamed turn, and all the ways it can end."""

import asyncio
import sys

import pytest
from soma.mesh.v1 import stream_pb2
from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2 as pb
from soma.policy.v1 import policy_service_pb2

from tests.cli.commands import soma
from tests.cli.mesh import KEY, ScriptedChat, finished, serving


def delta(text: str) -> pb.ChatResponse:
    return pb.ChatResponse(delta=message_pb2.Delta(text=text))


async def test_the_answer_alone_is_on_standard_output() -> None:
    chatting = ScriptedChat()
    chatting.events = [pb.ChatResponse(started=pb.ChatStarted(model="m")), delta("Hello, "), delta("world"), finished()]
    async with serving(chatting) as endpoint:
        ended = await soma(
            "chat", "Who is there?", "--url", endpoint.url, "--key", KEY, "--conversation", "c-1", "--model", "m"
        )
    assert (ended.status, ended.output) == (0, "Hello, world\n")
    assert "stop, 12 tokens, first token after 500 ms, 20 tokens/s" in ended.errors
    request = chatting.requests[0]
    assert (request.model, request.conversation_id) == ("m", "c-1")
    assert [(message.role, message.content) for message in request.messages] == [
        (message_pb2.ROLE_USER, "Who is there?")
    ]


async def test_a_stream_that_ends_without_its_final_event_is_an_error() -> None:
    chatting = ScriptedChat()
    chatting.events = [delta("Hel")]
    async with serving(chatting) as endpoint:
        ended = await soma("chat", "hi", "--url", endpoint.url, "--key", KEY)
    assert (ended.status, ended.output) == (1, "Hel\n")
    assert "cut off" in ended.errors


async def test_an_error_in_the_stream_is_shown() -> None:
    chatting = ScriptedChat()
    error = stream_pb2.StreamError(code=14, status="UNAVAILABLE", reason="MODEL_GONE", message="the model went away")
    chatting.events = [delta("Hel"), pb.ChatResponse(error=error)]
    async with serving(chatting) as endpoint:
        ended = await soma("chat", "hi", "--url", endpoint.url, "--key", KEY)
    assert ended.status == 1
    assert "the model went away" in ended.errors


async def test_a_decision_of_policy_is_shown() -> None:
    chatting = ScriptedChat()
    notice = pb.PolicyNotice(
        decision=policy_service_pb2.DECISION_REDACT,
        stage="input",
        matched_rules=[policy_service_pb2.MatchedRule(rule_id="pii", reason="a card number")],
    )
    chatting.events = [pb.ChatResponse(policy=notice), finished()]
    async with serving(chatting) as endpoint:
        ended = await soma("chat", "hi", "--url", endpoint.url, "--key", KEY)
    assert "policy on the input: redact (a card number)" in ended.errors


async def test_a_wrong_key_is_refused() -> None:
    async with serving(ScriptedChat()) as endpoint:
        ended = await soma("chat", "hi", "--url", endpoint.url, "--key", "wrong")
    assert ended.status == 1
    assert ended.errors.startswith("\nsoma: ") or ended.errors.startswith("soma: ")


@pytest.mark.parametrize("text", ["from a pipe", "two\nlines"])
async def test_a_message_may_come_from_a_pipe(text: str) -> None:
    chatting = ScriptedChat()
    chatting.events = [finished()]
    async with serving(chatting) as endpoint:
        command = [sys.executable, "-P", "-m", "cli.main", "chat", "--url", endpoint.url, "--key", KEY]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(30):
            await process.communicate(text.encode())
    assert process.returncode == 0
    assert [message.content for request in chatting.requests for message in request.messages] == [text]
