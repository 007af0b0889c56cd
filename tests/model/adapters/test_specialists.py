"""Requests for sounds, pictures, judgements and orders as each vendor's server gets them, and its answers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr
from soma.model.v1.media_service_pb2 import (
    EditImageRequest,
    GenerateImageRequest,
    ImageOptions,
    SpeakRequest,
    TranscribeRequest,
    TranscriptionOptions,
    TranslateRequest,
)
from soma.model.v1.message_pb2 import Media
from soma.model.v1.model_service_pb2 import ModerateRequest, RerankRequest

from services.mesh.blobs.blobs import Blobs
from services.mesh.blobs.directory import Directory
from services.mesh.call.call import run_as
from services.mesh.call.errors import InvalidArgument, MeshError
from services.mesh.testing.local import SOMEBODY
from services.model.adapters.openai_compatible import OpenAICompatible
from services.model.adapters.remote import remote
from services.model.adapters.upstream import Patience
from services.model.catalogue_file import ProviderSettings
from services.model.media.reader import MediaReader
from services.model.media.settings import MediaSettings
from services.model.provider import Methods
from tests.model.media.samples import PNG, WAV
from tests.model.vendors import VENDORS


@dataclass
class Recording:
    """A server that answers every POST with `answer`, and keeps what it got."""

    answer: Any = None
    content_type: str = "application/json"
    path: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    files: list[tuple[str, str, str]] = field(default_factory=list)

    async def list(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": []})

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.path, self.body, self.files = request.path, {}, []
        if request.content_type == "application/json":
            self.body = await request.json()
        else:
            for name, value in (await request.post()).items():
                if isinstance(value, web.FileField):
                    self.files.append((name, value.filename, value.content_type))
                elif name.endswith("[]"):
                    self.body.setdefault(name, []).append(value)
                else:
                    self.body[name] = value
        if isinstance(self.answer, bytes):
            return web.Response(body=self.answer, content_type=self.content_type)
        return web.json_response(self.answer)


@asynccontextmanager
async def serving(
    vendor: str, answer: Any, content_type: str = "application/json"
) -> AsyncIterator[tuple[Recording, Methods]]:
    """A vendor's methods, and the server that answers them."""
    recording = Recording(answer, content_type)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/{path:.*}", recording.serve)
    app.router.add_get("/{path:.*}", recording.list)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    base = f"http://{host}:{port}" + ("" if vendor in ("cohere", "azure") else "/v1")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        settings = ProviderSettings(name=vendor, base_url=base, api_key=SecretStr("k"), vendor=vendor)
        media = MediaReader(Blobs(Directory(".somamesh/blobs")), MediaSettings())  # type: ignore[arg-type]
        provider = await remote(settings, VENDORS[vendor], Patience(), stack, media=media)
        assert isinstance(provider, OpenAICompatible)
        with run_as(SOMEBODY):
            yield recording, provider.methods


AUDIO = Media(data=WAV, media_type="audio/wav", name="talk")
PICTURE = Media(data=PNG, media_type="image/png")
TRANSCRIPT: Mapping[str, Any] = {"text": "hello"}
PICTURES: Mapping[str, Any] = {"data": [{"url": "https://pictures.example/1.png"}]}
ORDER: Mapping[str, Any] = {"results": [{"index": 0, "relevance_score": 0.5}, {"index": 1, "relevance_score": 0.75}]}


@pytest.mark.parametrize(
    ("vendor", "detail", "expected"),
    [
        ("openai", TranscriptionOptions.DETAIL_TEXT, {"response_format": "json"}),
        ("groq", TranscriptionOptions.DETAIL_SEGMENTS, {"response_format": "verbose_json"}),
        ("mistral", TranscriptionOptions.DETAIL_TEXT, {}),
        (
            "mistral",
            TranscriptionOptions.DETAIL_SPEAKERS,
            {"diarize": "true", "timestamp_granularities[]": ["segment"]},
        ),
    ],
)
async def test_a_transcript_is_asked_for_in_the_vendors_words(
    vendor: str, detail: "TranscriptionOptions.Detail.ValueType", expected: dict[str, Any]
) -> None:
    request = TranscribeRequest(audio=AUDIO, options=TranscriptionOptions(detail=detail, language="en"))
    async with serving(vendor, TRANSCRIPT) as (server, methods):
        events = [event async for event in methods.transcribe(request, "m")]
    assert server.path == "/v1/audio/transcriptions"
    assert server.body == {"model": "m", "language": "en", **expected}
    assert server.files == [("file", "talk.wav", "audio/wav")]
    assert [event.WhichOneof("payload") for event in events] == ["started", "finished"]
    assert events[-1].finished.transcript.text == "hello"


async def test_a_deployment_is_in_the_path_of_azures_methods() -> None:
    async with serving("azure", TRANSCRIPT) as (server, methods):
        await methods.translate(TranslateRequest(audio=AUDIO), "my whisper")
    assert server.path == "/openai/deployments/my whisper/audio/translations"


@pytest.mark.parametrize(
    ("vendor", "options", "field"),
    [
        ("mistral", TranscriptionOptions(prompt="tea"), "options.prompt"),
        ("groq", TranscriptionOptions(detail=TranscriptionOptions.DETAIL_SPEAKERS), "options.detail"),
        ("openai", TranscriptionOptions(provider_params='{"language": "en"}'), "options.provider_params.language"),
    ],
)
async def test_what_a_vendor_lacks_is_refused_by_name(vendor: str, options: TranscriptionOptions, field: str) -> None:
    async with serving(vendor, TRANSCRIPT) as (server, methods):
        with pytest.raises(InvalidArgument) as caught:
            async for _ in methods.transcribe(TranscribeRequest(audio=AUDIO, options=options), "m"):
                pass
    assert [each.field for each in caught.value.facts.violations] == [field]
    assert server.path == ""


async def test_what_a_vendor_lacks_is_left_out_on_request() -> None:
    options = TranscriptionOptions(prompt="tea", drop_params=True)
    async with serving("mistral", TRANSCRIPT) as (server, methods):
        events = [event async for event in methods.transcribe(TranscribeRequest(audio=AUDIO, options=options), "m")]
    assert events[0].started.dropped_params == ["options.prompt"]
    assert "prompt" not in server.body


MISTRAL_EVENTS = (
    b'event: transcription.language\ndata: {"type": "transcription.language", "audio_language": "en"}\n\n'
    b'event: transcription.text.delta\ndata: {"type": "transcription.text.delta", "text": "hel"}\n\n'
    b'data: {"type": "transcription.segment", "text": "hello", "start": 0.0, "end": 1.5, "speaker_id": "s1"}\n\n'
    b'data: {"type": "transcription.done", "text": "hello", "segments": [], "usage": {"prompt_audio_seconds": 2,'
    b' "prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}}\n\n'
)
VLLM_EVENTS = (
    b'data: {"object": "transcription.chunk", "choices": [{"delta": {"content": "hel"}}]}\n\n'
    b'data: {"object": "transcription.chunk", "choices": [{"delta": {"content": "lo"}, "finish_reason": "stop"}]}\n\n'
    b"data: [DONE]\n\n"
)


@pytest.mark.parametrize(("vendor", "sent"), [("mistral", MISTRAL_EVENTS), ("vllm", VLLM_EVENTS)])
async def test_other_vendors_events_are_read(vendor: str, sent: bytes) -> None:
    async with serving(vendor, sent, "text/event-stream") as (_, methods):
        events = [event async for event in methods.transcribe(TranscribeRequest(audio=AUDIO, stream=True), "m")]
    finished = events[-1].finished
    assert finished.transcript.text == "hello"
    assert next(event.delta.text for event in events if event.HasField("delta")) == "hel"
    if vendor == "mistral":
        assert (finished.transcript.language, finished.media.usage.audio_seconds) == ("en", 2.0)
        assert [(each.speaker, each.end_seconds) for each in finished.transcript.segments] == [("s1", 1.5)]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (VLLM_EVENTS.replace(b"data: [DONE]\n\n", b""), "PROVIDER_STREAM_CUT"),
        (MISTRAL_EVENTS[:200], "PROVIDER_STREAM_CUT"),
        (b'data: {"error": {"message": "busy", "type": "overloaded"}}\n\n', "PROVIDER_UNAVAILABLE"),
        (b"data: {broken\n\n" + MISTRAL_EVENTS, "PROVIDER_PROTOCOL_ERROR"),
        (b"data: [1]\n\n", "PROVIDER_PROTOCOL_ERROR"),
        (b'{"text": 7}', "PROVIDER_PROTOCOL_ERROR"),
        (b"{broken", "PROVIDER_PROTOCOL_ERROR"),
    ],
)
async def test_a_transcript_that_is_not_complete_is_an_error(sent: bytes, reason: str) -> None:
    async with serving("openai", sent, "text/event-stream") as (_, methods):
        with pytest.raises(MeshError) as caught:
            async for _event in methods.transcribe(TranscribeRequest(audio=AUDIO, stream=True), "m"):
                pass
    assert caught.value.reason == reason


async def test_a_speech_has_the_type_that_its_format_has_if_the_server_does_not_say_it() -> None:
    request = SpeakRequest(input="tea", voice="voice_1", format="flac", speed=0.7)
    async with serving("openai", b"sound", "application/octet-stream") as (server, methods):
        events = [event async for event in methods.speak(request, "m")]
    assert events[0].started.media_type == "audio/flac"
    assert server.body == {
        "model": "m",
        "input": "tea",
        "voice": {"id": "voice_1"},
        "response_format": "flac",
        "speed": 0.7,
    }


@pytest.mark.parametrize(
    ("vendor", "options", "expected"),
    [
        ("openai", ImageOptions(count=2, size="256x256"), {"n": 2, "size": "256x256", "response_format": "b64_json"}),
        ("together", ImageOptions(size="512x256"), {"width": 512, "height": 256, "response_format": "base64"}),
        (
            "xai",
            ImageOptions(urls=True, provider_params='{"aspect_ratio": "1:1"}'),
            {"aspect_ratio": "1:1", "response_format": "url"},
        ),
    ],
)
async def test_pictures_are_asked_for_in_the_vendors_words(
    vendor: str, options: ImageOptions, expected: dict[str, Any]
) -> None:
    async with serving(vendor, PICTURES) as (server, methods):
        request = GenerateImageRequest(prompt="tea", options=options)
        events = [event async for event in methods.draw(request, "m")]
    assert server.body == {"model": "m", "prompt": "tea", **expected}
    assert [event.WhichOneof("payload") for event in events] == ["started", "image", "finished"]
    assert events[1].image.image.url == "https://pictures.example/1.png"


async def test_xai_gets_the_pictures_that_are_changed_as_json() -> None:
    async with serving("xai", PICTURES) as (server, methods):
        one = EditImageRequest(prompt="greener", images=[PICTURE])
        assert [event async for event in methods.draw(one, "m")]
        assert server.path == "/v1/images/edits"
        assert server.body["image"]["url"].startswith("data:image/png;base64,")
        two = EditImageRequest(prompt="greener", images=[PICTURE, PICTURE])
        assert [event async for event in methods.draw(two, "m")]
        assert len(server.body["images"]) == 2


async def test_a_vendor_without_a_method_is_named() -> None:
    async with serving("together", PICTURES) as (_, methods):
        with pytest.raises(InvalidArgument) as caught:
            async for _event in methods.draw(EditImageRequest(prompt="greener", images=[PICTURE]), "m"):
                pass
        assert caught.value.reason == "MODEL_CAPABILITY_MISSING"
        with pytest.raises(InvalidArgument) as caught:
            await methods.moderate(ModerateRequest(), "m")
        assert caught.value.reason == "MODEL_CAPABILITY_MISSING"


@pytest.mark.parametrize(
    ("vendor", "path", "answer"),
    [
        ("cohere", "/v2/rerank", ORDER),
        ("together", "/v1/rerank", ORDER),
        ("fireworks", "/v1/rerank", {"object": "list", "data": ORDER["results"]}),
        ("llamacpp", "/v1/rerank", {**ORDER, "usage": {"prompt_tokens": 7, "total_tokens": 7}}),
        ("sglang", "/v1/rerank", [{"index": 0, "score": 0.5, "document": "a"}, {"index": 1, "score": 0.75}]),
    ],
)
async def test_an_order_is_read_in_each_vendors_form(vendor: str, path: str, answer: Any) -> None:
    async with serving(vendor, answer) as (server, methods):
        response = await methods.rerank(RerankRequest(query="q", documents=["a", "b"], top_n=5), "m")
    assert server.path == path
    assert server.body == {"model": "m", "query": "q", "documents": ["a", "b"], "top_n": 2}
    assert [(each.index, each.relevance_score) for each in response.results] == [(1, 0.75), (0, 0.5)]


async def test_mistral_s_judgements_are_flagged_by_their_categories() -> None:
    answer = {"results": [{"categories": {"pii": True, "hate": False}, "category_scores": {"pii": 0.75, "hate": 0.25}}]}
    request = ModerateRequest()
    request.inputs.add().parts.add().text.text = "tea"
    async with serving("mistral", answer) as (server, methods):
        response = await methods.moderate(request, "m")
        request.inputs[0].parts.add().image.CopyFrom(PICTURE)
        with pytest.raises(InvalidArgument) as caught:
            await methods.moderate(request, "m")
    assert server.body == {"model": "m", "input": ["tea"]}
    assert response.results[0].flagged
    assert caught.value.reason == "PARAMETER_NOT_SUPPORTED"
