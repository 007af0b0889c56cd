"""Pictures, sounds and documents in requests: where their bytes are during a turn, and what is refused by name."""

import asyncio
import binascii
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from soma.errors.v1 import reasons
from soma.model.v1 import message_pb2 as model
from soma.model.v1.message_pb2 import Media, Message, Part

from gateway.edge.media import LONGEST_PIECE, Inline, decoded, decoded_in_pieces, held
from services.mesh.blobs.blobs import Blobs
from services.mesh.blobs.directory import Directory
from services.mesh.call import errors
from services.mesh.testing.waiting import until
from tests.fakes.chat import spoken
from tests.fakes.responses import answered
from tests.gateway.edge.conftest import Stand

PNG, WAV, PDF = b"\x89PNG\r\n\x1a\n...", b"RIFF....WAVE", b"%PDF-1.7"
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64(data)}"


def hash_of(data: bytes) -> str:
    return sha256(data).hexdigest()


def image(url: str, **members: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **members}}


def file(**members: Any) -> dict[str, Any]:
    return {"type": "file", "file": members}


def asked(*parts: dict[str, Any], role: str = "user", **members: Any) -> dict[str, Any]:
    """A chat with one message of these parts."""
    return {"messages": [{"role": role, "content": parts, **members}]}


TEXT = {"type": "text", "text": "What is this?"}
SOUND = {"type": "input_audio", "input_audio": {"data": base64(WAV), "format": "wav"}}
CHAT_PARTS: list[tuple[dict[str, Any], Part]] = [
    (image("https://example.com/a.png"), Part(image=Media(url="https://example.com/a.png"))),
    (
        image(data_url(PNG, "image/png"), detail="low"),
        Part(image=Media(hash=hash_of(PNG), media_type="image/png", detail="low")),
    ),
    (image(data_url(PNG, "IMAGE/PNG;x=1")), Part(image=Media(hash=hash_of(PNG), media_type="image/png"))),
    (
        {"type": "image_url", "image_url": "http://example.com/b"},
        Part(image=Media(url="http://example.com/b")),
    ),
    (SOUND, Part(audio=Media(hash=hash_of(WAV), media_type="audio/wav"))),
    (
        {"type": "input_audio", "input_audio": {"data": data_url(WAV, "audio/x-wav"), "format": "wav"}},
        Part(audio=Media(hash=hash_of(WAV), media_type="audio/x-wav")),
    ),
    (
        file(file_data=data_url(PDF, "application/pdf"), filename="a.pdf"),
        Part(file=Media(hash=hash_of(PDF), media_type="application/pdf", name="a.pdf")),
    ),
    (
        file(file_data=base64(PDF), filename="a.pdf"),
        Part(file=Media(hash=hash_of(PDF), media_type="application/pdf", name="a.pdf")),
    ),
    (file(file_id="file-1"), Part(file=Media(file_id="file-1"))),
    (file(file_id=f"blob_{hash_of(PDF)}"), Part(file=Media(hash=hash_of(PDF)))),
    (
        image("https://example.com/a.png") | {"cache_control": {"type": "ephemeral"}},
        Part(
            image=Media(url="https://example.com/a.png"),
            provider_params='{"cache_control":{"type":"ephemeral"}}',
        ),
    ),
]
RESPONSE_PARTS: list[tuple[dict[str, Any], Part]] = [
    (
        {"type": "input_image", "image_url": data_url(PNG, "image/png"), "detail": "high", "file_id": None},
        Part(image=Media(hash=hash_of(PNG), media_type="image/png", detail="high")),
    ),
    ({"type": "input_image", "file_id": "file-1"}, Part(image=Media(file_id="file-1"))),
    (
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
        Part(file=Media(url="https://example.com/a.pdf")),
    ),
    (
        {"type": "input_file", "file_data": data_url(PDF, "application/pdf"), "filename": "a.pdf"},
        Part(file=Media(hash=hash_of(PDF), media_type="application/pdf", name="a.pdf")),
    ),
    (SOUND, Part(audio=Media(hash=hash_of(WAV), media_type="audio/wav"))),
]


@pytest.mark.parametrize("role", ["user", "tool"])
@pytest.mark.parametrize(("part", "expected"), CHAT_PARTS)
async def test_a_part_of_a_chat_reaches_the_contract(
    http: httpx.AsyncClient, stand: Stand, part: dict[str, Any], expected: Part, role: str
) -> None:
    called = {"tool_call_id": "c1"} if role == "tool" else {}
    answer = await http.post(CHAT, json=asked(TEXT, part, role=role, **called))
    assert answer.status_code == 200, answer.text
    [message] = stand.chat.requests[0].messages
    assert list(message.parts) == [Part(text=model.Text(text="What is this?")), expected]


@pytest.mark.parametrize(("part", "expected"), RESPONSE_PARTS)
async def test_a_part_of_a_response_reaches_the_contract(
    http: httpx.AsyncClient, stand: Stand, part: dict[str, Any], expected: Part
) -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "What is this?"}, part]},
        {"type": "function_call_output", "call_id": "c1", "output": [part]},
    ]
    answer = await http.post(RESPONSES, json={"input": items})
    assert answer.status_code == 200, answer.text
    said, output = (each.message for each in stand.responses.requests[0].input)
    assert list(said.parts) == [Part(text=model.Text(text="What is this?")), expected]
    assert output == Message(role=model.ROLE_TOOL, tool_call_id="c1", parts=[expected])


@pytest.mark.parametrize("stream", [False, True])
async def test_the_bytes_of_a_request_are_held_until_its_answer_is_complete(
    http: httpx.AsyncClient, stand: Stand, stream: bool
) -> None:
    answering = asyncio.Event()
    stand.chat.reset([*spoken("A tortoise.")[:-1], answering, spoken()[-1]])
    twice = asked(image(data_url(PNG, "image/png")), image(data_url(PNG, "image/png")))
    asking = asyncio.create_task(http.post(CHAT, json=twice | {"stream": stream, "n": 2}))
    async with asyncio.timeout(5):
        await stand.chat.begun.wait()
    assert await stand.blobs.read("default", hash_of(PNG)) == PNG
    with pytest.raises(errors.NotFound):
        await stand.blobs.read("another tenant", hash_of(PNG))
    answering.set()
    assert (await asking).status_code == 200
    await until(lambda: gone(stand))


async def test_the_bytes_are_let_go_when_the_turn_fails(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.chat.script = [errors.Unavailable("no")]
    assert (await http.post(CHAT, json=asked(image(data_url(PNG, "image/png"))))).status_code == 503
    assert await gone(stand)


async def gone(stand: Stand) -> bool:
    try:
        await stand.blobs.read("default", hash_of(PNG))
    except errors.NotFound as error:
        return error.reason == reasons.MEDIA_NOT_FOUND
    return False


URL = "messages[0].content[0].image_url.url"
REFUSED: list[tuple[dict[str, Any], str, str, str]] = [
    (image(data_url(PNG, "text/plain")), URL, "media_invalid", "expected a data URL of the type 'image/…'"),
    (image("data:image/png;base64,AA=A"), URL, "media_invalid", "expected base64"),
    (image("data:image/png;base64,AAA"), URL, "media_invalid", "expected base64"),
    (image("data:image/png;base64,AA\n=="), URL, "media_invalid", "expected base64"),
    (image("data:image/png;base64,ÄÖ=="), URL, "media_invalid", "expected base64"),
    (image("data:image/png;base64,"), URL, "media_invalid", "the data is empty"),
    (image("data:image/png,AAAA"), URL, "media_invalid", "expected a data URL in base64"),
    (image("data:image/png;base64"), URL, "media_invalid", "expected a data URL in base64"),
    (image("data:;base64,AAAA"), URL, "media_invalid", "does not say the type"),
    (image("data:image/pn g;base64,AAAA"), URL, "media_invalid", "does not say the type"),
    (image("ftp://example.com/a"), URL, "invalid_value", "expected an http or https URL"),
    (image("file:///etc/passwd"), URL, "invalid_value", "expected an http or https URL"),
    (image("https://example.com/" + "a" * 8192), URL, "string_above_max_length", "at most 8192"),
    (image("https://example.com/a", x=1), "messages[0].content[0].image_url.x", "unknown_parameter", "Unknown"),
    ({"type": "image_url"}, "messages[0].content[0].image_url", "missing_required_parameter", "Missing"),
    (
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "midi"}},
        "messages[0].content[0].input_audio.format",
        "invalid_value",
        "Supported values are: 'wav', 'mp3'",
    ),
    (
        {"type": "input_audio", "input_audio": {"data": "no", "format": "wav"}},
        "messages[0].content[0].input_audio.data",
        "media_invalid",
        "expected base64",
    ),
    (file(), "messages[0].content[0].file.file_data", "missing_required_parameter", "Missing"),
    (
        file(file_id="f", file_data="AAAA"),
        "messages[0].content[0].file.file_data",
        "mutually_exclusive_parameters",
        "send only one of 'file_data' and 'file_id'",
    ),
    (file(file_data="AAAA"), "messages[0].content[0].file.file_data", "media_invalid", "tells the type"),
    (file(file_id=""), "messages[0].content[0].file.file_id", "invalid_value", "1 to 512 characters"),
    ({"type": "video_url", "video_url": "v"}, "messages[0].content[0].type", "invalid_value", "Supported values"),
    ({"text": "Hi"}, "messages[0].content[0].type", "missing_required_parameter", "Missing"),
]


@pytest.mark.parametrize(("part", "param", "code", "words"), REFUSED)
async def test_a_wrong_part_is_refused_by_name(
    http: httpx.AsyncClient, stand: Stand, part: dict[str, Any], param: str, code: str, words: str
) -> None:
    answer = await http.post(CHAT, json=asked(part))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert words in error["message"]
    assert stand.chat.requests == []


@pytest.mark.parametrize(
    ("role", "part"),
    [
        ("system", image("https://example.com/a")),
        ("developer", SOUND),
        ("assistant", image("https://example.com/a")),
        ("assistant", file(file_id="f")),
        ("user", {"type": "refusal", "refusal": "No."}),
        ("user", {"type": "thinking", "thinking": "Hm."}),
        ("tool", {"type": "redacted_thinking", "data": "AAAA"}),
    ],
)
async def test_a_part_in_a_message_of_the_wrong_role_is_refused_by_name(
    http: httpx.AsyncClient, stand: Stand, role: str, part: dict[str, Any]
) -> None:
    called = {"tool_call_id": "c1"} if role == "tool" else {}
    error = (await http.post(CHAT, json=asked(TEXT, part, role=role, **called))).json()["error"]
    assert (error["param"], error["code"]) == ("messages[0].content[1]", "invalid_value")
    assert f"a part of the type '{part['type']}'" in error["message"]
    assert stand.chat.requests == []


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_image"}, "input[0].content[0].image_url"),
        ({"type": "input_image", "image_url": "data:image/png;base64,A"}, "input[0].content[0].image_url"),
        ({"type": "input_file", "file_url": "a.pdf"}, "input[0].content[0].file_url"),
        ({"type": "input_file", "file_url": "https://e.com/a", "file_id": "f"}, "input[0].content[0].file_id"),
        ({"type": "video_url", "video_url": "v"}, "input[0].content[0].type"),
    ],
)
async def test_a_wrong_part_of_a_response_is_refused_by_name(
    http: httpx.AsyncClient, stand: Stand, part: dict[str, Any], param: str
) -> None:
    answer = await http.post(RESPONSES, json={"input": [{"role": "user", "content": [part]}]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert stand.responses.requests == []


@pytest.mark.parametrize(
    ("path", "member", "part"),
    [
        (RESPONSES, "input", {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
        (RESPONSES, "input", {"type": "input_image", "image_url": "https://example.com/a.png"}),
        (CHAT, "messages", {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
        (CHAT, "messages", {"type": "input_image", "image_url": "https://example.com/a.png"}),
    ],
)
async def test_the_parts_of_both_interfaces_are_read_by_both(
    http: httpx.AsyncClient, stand: Stand, path: str, member: str, part: dict[str, Any]
) -> None:
    answer = await http.post(path, json={member: [{"role": "user", "content": [part]}]})
    assert answer.status_code == 200
    asked = stand.responses.requests[0].input[0].message if path == RESPONSES else stand.chat.requests[0].messages[0]
    assert asked.parts[0].image.url == "https://example.com/a.png"


async def test_input_items_have_pictures_and_documents_and_can_be_sent_again(
    http: httpx.AsyncClient, stand: Stand
) -> None:
    made = (await http.post(RESPONSES, json={"input": "Hi"})).json()
    message = Message(
        role=model.ROLE_USER,
        parts=[
            Part(text=model.Text(text="What is this?")),
            Part(image=Media(hash=hash_of(PNG), media_type="image/png", detail="low")),
            Part(image=Media(url="https://example.com/a.png")),
            Part(file=Media(file_id="file-1", name="a.pdf")),
            Part(file=Media(url="https://example.com/a.pdf")),
        ],
    )
    stand.responses.kept[made["id"]].inputs[0].message.CopyFrom(message)
    [item] = (await http.get(f"{RESPONSES}/{made['id']}/input_items")).json()["data"]
    kept = f"blob_{hash_of(PNG)}"
    assert item["content"] == [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "detail": "low", "image_url": None, "file_id": kept},
        {"type": "input_image", "detail": "auto", "image_url": "https://example.com/a.png", "file_id": None},
        {"type": "input_file", "file_id": "file-1", "filename": "a.pdf"},
        {"type": "input_file", "file_id": None, "file_url": "https://example.com/a.pdf", "filename": None},
    ]
    stand.responses.reset(answered("A tortoise."))
    assert (await http.post(RESPONSES, json={"input": [item]})).status_code == 200
    again = stand.responses.requests[0].input[0].message
    assert [part.WhichOneof("part") for part in again.parts] == ["text", "image", "image", "file", "file"]
    assert again.parts[1].image.hash == hash_of(PNG)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_as_they_were_encoded(data: bytes) -> None:
    assert decoded(base64(data)) == data


@given(st.text("AQgw+/-_= \nÄ\ud800", max_size=12))
def test_a_text_is_base64_for_the_fast_decoder_and_the_strict_one_alike(text: str) -> None:
    try:
        expected = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        with pytest.raises(ValueError):
            decoded(text)
    else:
        assert decoded(text) == expected


@pytest.mark.parametrize("text", [base64(b"a" * 4_000_001), base64(b"a" * 3 * 1024 * 1024)])
async def test_a_long_text_is_decoded_in_pieces(text: str) -> None:
    assert await decoded_in_pieces(text) == binascii.a2b_base64(text)


@pytest.mark.parametrize(
    "text",
    [
        base64(b"a" * 3_000_000)[:-1],
        base64(b"a" * (LONGEST_PIECE // 4 * 3 - 1)) + "AAAA",
        base64(b"a" * (LONGEST_PIECE // 4 * 3 - 1)) + "=AAAA",
    ],
)
async def test_a_long_text_that_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        await decoded_in_pieces(text)


@pytest.mark.parametrize(("text", "kept"), [("AA==", "AA=="), ("AB==", ""), ("AAAA", "AAAA"), ("AAB=", "")])
async def test_the_text_of_bytes_is_kept_if_an_encoder_makes_the_same(text: str, kept: str, tmp_path: Path) -> None:
    blobs, media = Blobs(Directory(tmp_path)), Media()
    async with held([Inline(media, text, "")], blobs, "acme"):
        assert await blobs.read("acme", media.hash) == binascii.a2b_base64(text)
        assert blobs.take_base64("acme", media.hash) == kept
