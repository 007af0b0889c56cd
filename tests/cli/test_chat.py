"""`soma chat`: a streamed turn, and all the ways it can end."""

import asyncio
import base64
import sys
from pathlib import Path

import pytest
from soma.mesh.v1 import stream_pb2
from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2 as pb
from soma.policy.v1 import policy_service_pb2

from tests.cli.commands import soma
from tests.cli.mesh import KEY, ScriptedChat, finished, serving

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


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


async def test_thoughts_are_on_standard_error_on_lines_of_their_own() -> None:
    chatting = ScriptedChat()
    thoughts = [
        message_pb2.ReasoningDelta(index=0, text="Let me "),
        message_pb2.ReasoningDelta(index=0, text="see."),
        message_pb2.ReasoningDelta(index=0, signature="sig"),
        message_pb2.ReasoningDelta(index=1, text="Yes."),
    ]
    chatting.events = [
        *(pb.ChatResponse(delta=message_pb2.Delta(reasoning=[thought])) for thought in thoughts),
        delta("Hello"),
        finished(),
    ]
    async with serving(chatting) as endpoint:
        ended = await soma("chat", "hi", "--url", endpoint.url, "--key", KEY)
    assert (ended.status, ended.output) == (0, "Hello\n")
    assert ended.errors.startswith("Let me see.\nYes.\n")
    assert "sig" not in ended.errors


async def test_calls_and_citations_are_named() -> None:
    chatting = ScriptedChat()
    said = message_pb2.Delta(
        text="Hello",
        citations=[message_pb2.Citation(url="https://a.b"), message_pb2.Citation(title="Report")],
        tool_calls=[
            message_pb2.ToolCallDelta(index=0, name="look_up", arguments="{"),
            message_pb2.ToolCallDelta(index=0, arguments="}"),
            message_pb2.ToolCallDelta(index=1, name="wait"),
        ],
    )
    chatting.events = [pb.ChatResponse(delta=said), finished()]
    async with serving(chatting) as endpoint:
        ended = await soma("chat", "hi", "--url", endpoint.url, "--key", KEY)
    assert ended.errors.splitlines()[1:5] == [
        "[cites https://a.b]",
        "[cites Report]",
        "[the model asks for look_up]",
        "[the model asks for wait]",
    ]


async def test_pictures_are_sent_after_the_text(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    chatting = ScriptedChat()
    chatting.events = [finished()]
    pictures = ("--image", tmp_path / "cat.png", "--image", "https://a.b/dog")
    async with serving(chatting) as endpoint:
        ended = await soma("chat", "Compare", *pictures, "--url", endpoint.url, "--key", KEY)
    assert ended.status == 0, ended.errors
    assert ended.errors.splitlines()[:2] == [f"[cat.png, image/png, {len(PNG)} bytes]", "[https://a.b/dog]"]
    assert list(chatting.requests[0].messages) == [
        message_pb2.Message(
            role=message_pb2.ROLE_USER,
            content="Compare",
            parts=[
                message_pb2.Part(image=message_pb2.Media(data=PNG, media_type="image/png", name="cat.png")),
                message_pb2.Part(image=message_pb2.Media(url="https://a.b/dog")),
            ],
        )
    ]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing.png", "No such file"),
        ("notes.png", "is text, not a picture"),
        ("cut.png", "is cut off"),
        ("empty.png", "is empty"),
        ("large.png", "is too large: it has 40.0 MB"),
        (".", "Is a directory"),
    ],
)
async def test_a_picture_that_cannot_be_sent_is_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(PNG[:-20])
    (tmp_path / "empty.png").touch()
    with (tmp_path / "large.png").open("wb") as large:
        large.truncate(40_000_000)
    ended = await soma("chat", "hi", "--image", tmp_path / name, "--url", "http://127.0.0.1:1", "--key", KEY)
    assert ended.status == 2
    assert "--image" in ended.errors
    assert why in " ".join(ended.errors.replace("│", " ").split())


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
