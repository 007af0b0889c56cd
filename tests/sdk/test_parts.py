"""Messages with pictures, sounds, documents and thoughts become those of the contract, and come back the same."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from soma.model.v1 import message_pb2 as model
from somamesh import Audio, Citation, File, Image, Kept, Message, Part, ProviderFile, Reasoning, Text, Tool, ToolCall
from somamesh.messages import from_message, to_messages, to_tool

from tests.sdk.conftest import Server
from tests.sdk.drivers import Driver

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WAV = b"RIFF$\x00\x00\x00WAVEfmt "
NOW = datetime.fromtimestamp(1_700_000_000, UTC)


def sent(part: Part | str) -> model.Part:
    """The part that a message with one part has in the contract."""
    (message,) = to_messages([Message("user", parts=[part])])
    return message.parts[0]


async def test_a_message_keeps_the_order_of_its_parts(server: Server, client: Driver, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    said = Message(
        "user",
        "Compare",
        parts=["these", Image(tmp_path / "cat.png", detail="low"), Text("and"), Image("https://a.b/dog.jpg")],
        provider_params={"cache_control": {"type": "ephemeral"}},
    )
    await client.call("chat", [said])
    assert server.chat.requests[0].messages[0] == model.Message(
        role=model.ROLE_USER,
        content="Compare",
        parts=[
            model.Part(text=model.Text(text="these")),
            model.Part(image=model.Media(data=PNG, media_type="image/png", name="cat.png", detail="low")),
            model.Part(text=model.Text(text="and")),
            model.Part(image=model.Media(url="https://a.b/dog.jpg")),
        ],
        provider_params='{"cache_control": {"type": "ephemeral"}}',
    )
    assert said.text == "Comparetheseand"


async def test_a_message_may_be_a_mapping_with_parts(server: Server, client: Driver) -> None:
    await client.call("chat", [{"role": "user", "parts": ["What is it?", Image(PNG)]}])
    assert server.chat.requests[0].messages[0].parts[1].image == model.Media(data=PNG, media_type="image/png")


async def test_parts_come_back_from_a_conversation(client: Driver) -> None:
    said = [
        Message("user", parts=(Text("Hi"), Image(Kept("0" * 64), media_type="image/png"))),
        Message(
            "assistant",
            parts=(Reasoning("Hm", "sig", provider="anthropic"), Text("A cat", (Citation("https://a.b", "A", "q"),))),
            tool_calls=(ToolCall("call_a", "f", "{}", "sig"),),
            provider_params={"n": 2**60},
        ),
    ]
    conversation = await client.call("create_conversation", said)
    found = await client.items("list_messages", conversation.id)
    assert [(each.parts, each.tool_calls, each.provider_params, each.text) for each in found] == [
        (each.parts, each.tool_calls, each.provider_params, each.text) for each in said
    ]
    assert (found[1].sequence, found[1].created_at) == (2, NOW)


@pytest.mark.parametrize(
    ("part", "media"),
    [
        (Image(PNG, media_type="image/x-mine"), model.Media(data=PNG, media_type="image/x-mine")),
        (
            Image("data:image/gif;base64," + base64.b64encode(b"GIF89a").decode()),
            model.Media(data=b"GIF89a", media_type="image/gif"),
        ),
        (Audio(WAV), model.Media(data=WAV, media_type="audio/wav")),
        (Audio(b"abc", name="song.mp3"), model.Media(data=b"abc", media_type="audio/mpeg", name="song.mp3")),
        (File(b"%PDF-1.7"), model.Media(data=b"%PDF-1.7", media_type="application/pdf")),
        (File(ProviderFile("file-1")), model.Media(file_id="file-1")),
        (File(Kept("a" * 64)), model.Media(hash="a" * 64)),
    ],
)
def test_where_the_bytes_are_and_their_type_reach_the_contract(part: Part, media: model.Media) -> None:
    made = sent(part)
    assert getattr(made, made.WhichOneof("part") or "") == media


@pytest.mark.parametrize(
    "part",
    [
        Text("Hi", provider_params={"cache_control": {"type": "ephemeral"}}),
        Image("https://a.b/c.png", detail="high", provider_params={"x": 1}),
        Audio(WAV, media_type="audio/wav"),
        File(ProviderFile("file-1"), name="report.pdf"),
        Reasoning("Hm", "sig", "redacted", "google", '{"n": 1.0}'),
    ],
)
def test_a_part_comes_back_as_it_was_sent(part: Part) -> None:
    (message,) = to_messages([Message("assistant", parts=[part])])
    assert from_message(message) == Message("assistant", parts=(part,))


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (Image("cat.png"), ValueError),
        (Image("data:image/png;base64,%%%"), ValueError),
        (Image(b"abc"), ValueError),
        (Image(Path("/no/such/cat.png")), FileNotFoundError),
        (Image(3), TypeError),  # type: ignore[arg-type]
        (3, TypeError),
        (Text("Hi", provider_params={"a": object()}), TypeError),
    ],
)
async def test_a_part_that_cannot_be_sent_is_refused_before_it_is_sent(
    server: Server, client: Driver, part: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        await client.call("chat", [Message("user", parts=[part])])
    assert server.chat.requests == []


def test_a_part_that_is_newer_than_the_client_is_left_out() -> None:
    newer = model.Message(role=model.ROLE_USER, content="Hi", parts=[model.Part()])
    assert from_message(newer) == Message("user", "Hi")


@pytest.mark.parametrize("params", [{}, {"cache_control": {"type": "ephemeral"}}])
def test_a_tool_has_members_of_its_provider(params: Mapping[str, Any]) -> None:
    made = to_tool(Tool("f", provider_params=params))
    assert made.provider_params == ('{"cache_control": {"type": "ephemeral"}}' if params else "")


def test_secrets_of_thoughts_are_not_in_their_texts_for_people() -> None:
    assert "sig" not in repr([Reasoning("Hm", "sig", "sig", details="sig"), ToolCall("a", "f", "{}", "sig")])
