"""What goes wrong with sounds, pictures, judgements and orders: at the vendor, at the client, and in between."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import httpx
import openai as sdk
import pytest
from aiohttp import web
from openai import AsyncOpenAI

from services.mesh.testing.waiting import until
from tests.e2e.media.vendor import SPEECH, MediaVendor, refused, sound
from tests.e2e.stack import Stack
from tests.model.media.samples import PNG

SPEAK = {"model": "tts-1", "input": "Tea?", "voice": "coral"}
DRAW = {"model": "gpt-image-1", "prompt": "tea"}


def answering(response: Callable[[], web.Response]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The vendor sends this to every request."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return response()

    return answer


async def begun(request: web.Request) -> web.StreamResponse:
    """A sound of which the first half is sent."""
    response = web.StreamResponse(headers={"Content-Type": "audio/mpeg"})
    await response.prepare(request)
    await response.write(SPEECH[:4096])
    return response


async def cut(request: web.Request) -> web.StreamResponse:
    response = await begun(request)
    await asyncio.sleep(0.1)
    assert request.transport is not None
    request.transport.abort()
    return response


async def silent(request: web.Request) -> web.StreamResponse:
    response = await begun(request)
    await asyncio.Event().wait()
    return response


@pytest.mark.parametrize(
    ("status", "raised", "code"),
    [
        (400, sdk.BadRequestError, "provider_refused_request"),
        (401, sdk.BadRequestError, "provider_credential_refused"),
        (404, sdk.NotFoundError, "model_not_found"),
        (413, sdk.BadRequestError, "provider_refused_request"),
        (429, sdk.RateLimitError, "rate_limit_exceeded"),
        (500, sdk.InternalServerError, "provider_unavailable"),
    ],
)
async def test_a_vendors_refusal_is_typed_and_names_no_key(
    client: AsyncOpenAI, vendor: MediaVendor, status: int, raised: type[sdk.APIStatusError], code: str
) -> None:
    vendor.fails = answering(lambda: refused(status, "no: sk-vendor"))
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: client.audio.speech.create(**SPEAK),  # type: ignore[arg-type]
        lambda: client.audio.transcriptions.create(model="whisper-1", file=("a.wav", sound())),
        lambda: client.images.generate(model="gpt-image-1", prompt="tea"),
        lambda: client.moderations.create(input="tea"),
    ]
    for call in calls:
        with pytest.raises(raised) as caught:
            await call()
        assert caught.value.code == code
        if status == 401:
            assert "sk-vendor" not in caught.value.message


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (lambda: web.Response(text="<html>sign in</html>", content_type="text/html"), "provider_protocol_error"),
        (lambda: web.Response(body=b"", content_type="audio/mpeg"), "provider_protocol_error"),
        (lambda: web.json_response({"error": {"message": "busy", "type": "overloaded"}}), "provider_unavailable"),
    ],
)
async def test_what_is_no_sound_is_not_passed_on(
    client: AsyncOpenAI, vendor: MediaVendor, response: Callable[[], web.Response], code: str
) -> None:
    vendor.fails = answering(response)
    with pytest.raises(sdk.InternalServerError) as caught:
        await client.audio.speech.create(**SPEAK)  # type: ignore[arg-type]
    assert caught.value.code == code


async def test_a_speech_that_is_cut_never_looks_whole(media_stack: Stack, vendor: MediaVendor) -> None:
    vendor.fails = cut
    received = b""
    async with media_stack.http() as http:
        with pytest.raises(httpx.RemoteProtocolError):
            async with http.stream("POST", "/v1/audio/speech", json=SPEAK) as answer:
                assert answer.status_code == 200
                async for piece in answer.aiter_bytes():
                    received += piece
    assert SPEECH.startswith(received)


async def test_events_of_a_speech_that_is_cut_end_with_the_error(media_stack: Stack, vendor: MediaVendor) -> None:
    vendor.fails = cut
    async with media_stack.http() as http:
        answer = await http.post("/v1/audio/speech", json=SPEAK | {"stream_format": "sse"})
    last = answer.text.strip().splitlines()[-1]
    assert "provider_stream_cut" in last
    assert "[DONE]" not in answer.text


async def test_a_client_that_leaves_ends_the_speech_at_the_vendor(media_stack: Stack, vendor: MediaVendor) -> None:
    vendor.fails = silent
    async with media_stack.http() as http, http.stream("POST", "/v1/audio/speech", json=SPEAK) as answer:
        async for _ in answer.aiter_bytes():
            break
        left_at = monotonic()
    async with asyncio.timeout(10):
        await vendor.until_left(1)
    # 2 ms on a machine with nothing else to do.
    assert monotonic() - left_at < 3.0


async def test_a_client_that_leaves_ends_the_transcript_and_the_pictures(
    media_stack: Stack, vendor: MediaVendor
) -> None:
    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    vendor.fails = never
    form = {"file": ("a.wav", sound(), "audio/wav")}
    async with media_stack.http() as http:
        for number, call in enumerate(
            (
                http.post("/v1/audio/transcriptions", data={"model": "whisper-1"}, files=form),
                http.post("/v1/images/generations", json=DRAW),
            ),
            start=1,
        ):
            asked = asyncio.create_task(call)

            async def arrived(count: int = number) -> bool:
                return len(vendor.received) >= count

            await until(arrived)
            asked.cancel()
            async with asyncio.timeout(10):
                await vendor.until_left(number)


async def test_a_silent_vendor_is_given_up(client: AsyncOpenAI, vendor: MediaVendor) -> None:
    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    vendor.fails = never
    with pytest.raises(sdk.InternalServerError) as caught:
        await client.images.generate(model="gpt-image-1", prompt="tea")
    assert caught.value.code == "provider_timeout"


@pytest.mark.parametrize(
    "data",
    [{"b64_json": "bm8gcGljdHVyZQ=="}, {"b64_json": "%%%"}, {}, {"url": "file:///etc/passwd"}, None],
)
async def test_a_picture_that_is_none_is_not_passed_on(
    client: AsyncOpenAI, vendor: MediaVendor, data: dict[str, str] | None
) -> None:
    vendor.fails = answering(lambda: web.json_response({"created": 1, "data": [] if data is None else [data]}))
    with pytest.raises(sdk.InternalServerError) as caught:
        await client.images.generate(model="gpt-image-1", prompt="tea")
    assert caught.value.code == "provider_protocol_error"


@pytest.mark.parametrize(
    ("answer", "path", "body"),
    [
        ({"results": []}, "/v1/moderations", {"input": "tea"}),
        ({"results": [{"categories": None}]}, "/v1/moderations", {"input": "tea"}),
        ({"results": [{"index": 7, "relevance_score": 1}]}, "/v1/rerank", {"query": "a", "documents": ["a"]}),
        ({"results": [{"index": 0}]}, "/v1/rerank", {"query": "a", "documents": ["a"]}),
        ([1], "/v1/rerank", {"query": "a", "documents": ["a"]}),
    ],
)
async def test_an_answer_of_another_shape_is_refused(
    media_stack: Stack, vendor: MediaVendor, answer: object, path: str, body: dict[str, object]
) -> None:
    vendor.fails = answering(lambda: web.json_response(answer))
    async with media_stack.http() as http:
        reply = await http.post(path, json=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "provider_protocol_error")


async def test_files_that_are_none_are_refused_by_name(client: AsyncOpenAI, vendor: MediaVendor) -> None:
    wrong = [("a.wav", b"", "audio/wav"), ("a.wav", b"no sound", "audio/wav"), ("a.mp3", sound(), "audio/mpeg")]
    for file in wrong:
        with pytest.raises(sdk.BadRequestError) as caught:
            await client.audio.transcriptions.create(model="whisper-1", file=file)
        assert caught.value.code == "media_invalid"
    for picture in (("a.png", b"", "image/png"), ("a.png", b"none", "image/png"), ("a.jpg", PNG, "image/jpeg")):
        with pytest.raises(sdk.BadRequestError) as caught:
            await client.images.edit(model="gpt-image-1", image=picture, prompt="greener")
        assert caught.value.code == "media_invalid"
    assert vendor.received == []


async def test_what_a_vendor_does_not_have_is_refused_by_name(client: AsyncOpenAI, vendor: MediaVendor) -> None:
    with pytest.raises(sdk.BadRequestError) as caught:
        await client.images.generate(model="gpt-image-1", prompt="tea", response_format="url")
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "response_format")
    with pytest.raises(sdk.BadRequestError) as caught:
        await client.moderations.create(model="rerank-v3.5", input="tea")
    assert caught.value.code == "model_capability_missing"
    assert "`omni-moderation-latest`" in caught.value.message
    assert vendor.received == []


async def test_a_file_over_the_limit_is_refused(media_stack: Stack, vendor: MediaVendor) -> None:
    async with media_stack.http() as http:
        large = {"file": ("a.wav", sound() + bytes(26 * 1024 * 1024), "audio/wav")}
        reply = await http.post("/v1/audio/transcriptions", data={"model": "whisper-1"}, files=large, timeout=60)
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")
        announced = {"content-type": "multipart/form-data; boundary=b", "content-length": str(1 << 30)}

        async def gigabyte() -> object:
            piece = bytes(1 << 20)
            for _ in range(1 << 10):
                yield piece

        try:
            reply = await http.post(
                "/v1/audio/transcriptions",
                content=gigabyte(),  # type: ignore[arg-type]
                headers=dict(http.headers) | announced,
                timeout=60,
            )
            assert reply.status_code == 413
        except httpx.TransportError:
            # The gateway answered, and closed the connection while the client was still writing.
            pass
    assert vendor.received == []


async def test_every_call_has_a_record_with_its_units(media_stack: Stack, client: AsyncOpenAI) -> None:
    async def records() -> list[dict[str, object]]:
        async with media_stack.http() as http:
            found: list[dict[str, object]] = (await http.get("/v1/usage?page_size=4")).json()["records"]
            return found

    await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", sound()))
    await client.audio.speech.create(**SPEAK)  # type: ignore[arg-type]
    await client.images.generate(model="gpt-image-1", prompt="tea", n=2)
    async with media_stack.http() as http:
        await http.post("/v1/rerank", json={"query": "tea", "documents": ["tea", "coffee"]})
    found = {str(each["model"]): each for each in await records()}
    units = {name: each["usage"] for name, each in found.items()}
    assert units["whisper-1"]["audio_seconds"] == 1.0  # type: ignore[index]
    assert units["tts-1"]["characters"] == 4  # type: ignore[index]
    assert units["gpt-image-1"]["images"] == 2  # type: ignore[index]
    assert units["rerank-v3.5"]["search_units"] == 1  # type: ignore[index]
    assert {each["outcome"] for each in found.values()} == {"OUTCOME_FINISHED"}
