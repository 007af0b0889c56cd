"""A server of sounds, pictures, judgements and orders, which refuses what OpenAI's and Cohere's APIs refuse."""

import asyncio
import io
import wave
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from aiohttp import BodyPartReader, web

from tests.model.media.samples import PNG

SPEECH = bytes(range(256)) * 64
TEXT = "The tea is green."
MODELS = (
    *("whisper-1", "gpt-4o-transcribe", "gpt-4o-transcribe-diarize", "tts-1", "gpt-4o-mini-tts"),
    *("gpt-image-1", "dall-e-3", "omni-moderation-latest", "gpt-5-mini"),
)
_HEARD = ("model", "prompt", "response_format", "temperature")
_DRAWN = ("model", "prompt", "n", "size", "quality", "background", "partial_images", "stream")
CATEGORIES = ("hate", "violence", "self-harm")


def sound(seconds: float = 1.0) -> bytes:
    """A WAV of silence."""
    whole = io.BytesIO()
    with wave.open(whole, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(b"\0\0" * int(8000 * seconds))
    return whole.getvalue()


@dataclass
class Received:
    """A request: its path, its texts, and its files as (member, name, type, bytes)."""

    path: str
    body: dict[str, Any]
    files: list[tuple[str, str, str, bytes]] = field(default_factory=list)


@dataclass
class MediaVendor:
    """The server on a free port of 127.0.0.1, as an async context manager.

    Attributes:
        fails: answers the next requests in place of the server; None if the server answers.
        paces: seconds between two pieces of a stream.
        received: all requests so far.
        left: number of requests whose client disconnected before the end.
        url: base URL.
    """

    fails: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    paces: float = 0.0
    received: list[Received] = field(default_factory=list)
    left: int = 0
    url: str = ""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=128 * 1024 * 1024)
        app.router.add_get("/v1/models", self._models)
        for path, handler in (
            ("/v1/audio/transcriptions", self._transcribe),
            ("/v1/audio/translations", self._translate),
            ("/v1/audio/speech", self._speak),
            ("/v1/images/generations", self._draw),
            ("/v1/images/edits", self._edit),
            ("/v1/moderations", self._moderate),
            ("/v2/rerank", self._rerank),
        ):
            app.router.add_post(path, self._counted(handler))
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def until_left(self, count: int) -> None:
        """Wait until so many clients have disconnected."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.left >= count)

    @property
    def last(self) -> Received:
        """The latest request."""
        return self.received[-1]

    def _counted(
        self, handler: Callable[[web.Request, Received], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answered(request: web.Request) -> web.StreamResponse:
            received = await _read(request)
            self.received.append(received)
            if request.headers.get("Authorization") != "Bearer sk-vendor":
                return refused(401, "Incorrect API key provided: sk-vendor-wrong", "invalid_api_key")
            try:
                if self.fails is not None:
                    return await self.fails(request)
                return await handler(request, received)
            except Refused as refusal:
                return refused(400, str(refusal))
            except (asyncio.CancelledError, ConnectionError):
                async with self.changed:
                    self.left += 1
                    self.changed.notify_all()
                raise

        return answered

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if "page_size" in request.query:
            # Cohere's list.
            return web.json_response({"models": [{"name": "rerank-v3.5", "endpoints": ["rerank"]}]})
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})

    async def _transcribe(self, request: web.Request, received: Received) -> web.StreamResponse:
        body = received.body
        _only(body, [*_HEARD, "language", "stream", "include[]", "chunking_strategy"])
        _one_sound(received)
        form = body.get("response_format", "json")
        if body["model"] != "whisper-1" and form == "verbose_json":
            raise Refused(f"response_format '{form}' is not compatible with model '{body['model']}'.")
        if form == "diarized_json" and not body["model"].endswith("diarize"):
            raise Refused("diarized_json needs a model that diarizes")
        if body.get("stream") == "true" and body["model"] != "whisper-1":
            return await self._transcript_events(request, form)
        whole: dict[str, Any] = {"text": TEXT, "usage": {"type": "duration", "seconds": 1}}
        if form == "verbose_json":
            whole |= {"task": "transcribe", "language": "english", "duration": 1.0}
            whole["segments"] = [
                {"id": 0, "seek": 0, "start": 0.0, "end": 0.5, "text": " The tea", "avg_logprob": -0.25},
                {"id": 1, "seek": 0, "start": 0.5, "end": 1.0, "text": " is green.", "avg_logprob": -0.5},
            ]
            if "word" in body.get("timestamp_granularities[]", []):
                whole["words"] = [{"word": "The", "start": 0.0, "end": 0.25}]
        if form == "diarized_json":
            segment = {"type": "transcript.text.segment", "id": "seg_1", "start": 0.0, "end": 1.0}
            whole |= {"task": "transcribe", "duration": 1.0, "segments": [segment | {"text": TEXT, "speaker": "A"}]}
        return web.json_response(whole)

    async def _transcript_events(self, request: web.Request, form: str) -> web.StreamResponse:
        events: list[dict[str, Any]] = [
            {"type": "transcript.text.delta", "delta": "The tea"},
            {"type": "transcript.text.delta", "delta": " is green."},
        ]
        if form == "diarized_json":
            segment = {"type": "transcript.text.segment", "id": "seg_1", "start": 0.0, "end": 1.0}
            events.append(segment | {"text": TEXT, "speaker": "A"})
        usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 5, "total_tokens": 19}
        events.append({"type": "transcript.text.done", "text": TEXT, "usage": usage})
        return await self._send_events(request, events)

    async def _translate(self, request: web.Request, received: Received) -> web.StreamResponse:
        _only(received.body, [*_HEARD])
        _one_sound(received)
        if received.body["model"] != "whisper-1":
            raise Refused("The translation of sound is only possible with whisper-1")
        return web.json_response({"text": "Good day."})

    async def _speak(self, request: web.Request, received: Received) -> web.StreamResponse:
        body = received.body
        _only(body, ["model", "input", "voice", "instructions", "response_format", "speed", "stream_format"])
        if not body.get("voice"):
            raise Refused("Missing required parameter: 'voice'.")
        if len(body["input"]) > 4096:
            raise Refused("string too long")
        types = {"mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm", "opus": "audio/opus"}
        response = web.StreamResponse(headers={"Content-Type": types[body.get("response_format", "mp3")]})
        await response.prepare(request)
        for at in range(0, len(SPEECH), 4096):
            await response.write(SPEECH[at : at + 4096])
            await asyncio.sleep(self.paces)
        await response.write_eof()
        return response

    async def _draw(self, request: web.Request, received: Received) -> web.StreamResponse:
        body = received.body
        _only(body, [*_DRAWN, "moderation", "output_format", "output_compression", "response_format", "style", "user"])
        if body["model"] == "gpt-image-1" and "response_format" in body:
            raise Refused("Unknown parameter: 'response_format'.")
        if body.get("stream"):
            return await self._picture_events(request, "image_generation", body.get("partial_images", 0))
        picture = {"b64_json": b64encode(PNG).decode()}
        if body.get("response_format") == "url":
            picture = {"url": "https://pictures.example/1.png", "revised_prompt": "a green tea"}
        whole = {"created": 1, "data": [picture] * body.get("n", 1), "size": "1024x1024", "output_format": "png"}
        details = {"text_tokens": 10, "image_tokens": 0}
        usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30, "input_tokens_details": details}
        return web.json_response(whole | ({"usage": usage} if body["model"] == "gpt-image-1" else {}))

    async def _picture_events(self, request: web.Request, kind: str, partial: int) -> web.StreamResponse:
        facts = {"created_at": 1, "size": "1024x1024", "quality": "low", "background": "opaque", "output_format": "png"}
        shown = {"b64_json": b64encode(PNG).decode(), **facts}
        events = [
            {"type": f"{kind}.partial_image", "partial_image_index": number, **shown} for number in range(partial)
        ]
        usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
        return await self._send_events(request, [*events, {"type": f"{kind}.completed", **shown, "usage": usage}])

    async def _edit(self, request: web.Request, received: Received) -> web.StreamResponse:
        _only(received.body, [*_DRAWN, "input_fidelity"])
        names = [name for name, *_ in received.files]
        if not set(names) <= {"image", "image[]", "mask"} or "image" not in {each.removesuffix("[]") for each in names}:
            raise Refused(f"the files are {names}")
        if any(not name.endswith(".png") or kind != "image/png" for _, name, kind, _ in received.files):
            raise Refused("Invalid image file or mode for image")
        if received.body.get("stream") == "true":
            return await self._picture_events(request, "image_edit", int(received.body.get("partial_images", 0)))
        return web.json_response({"created": 1, "data": [{"b64_json": b64encode(PNG).decode()}]})

    async def _moderate(self, request: web.Request, received: Received) -> web.StreamResponse:
        _only(received.body, ["model", "input"])
        given = received.body["input"]
        texts = [given] if isinstance(given, str) or (given and isinstance(given[0], dict)) else given
        return web.json_response(
            {"id": "modr-1", "model": received.body["model"], "results": [_judged(t) for t in texts]}
        )

    async def _rerank(self, request: web.Request, received: Received) -> web.StreamResponse:
        body = received.body
        _only(body, ["model", "query", "documents", "top_n", "max_tokens_per_doc", "priority"])
        if not all(isinstance(each, str) for each in body["documents"]):
            raise Refused("documents must be strings")
        shared = [len(set(body["query"].split()) & set(each.split())) / 10 for each in body["documents"]]
        order = sorted(range(len(shared)), key=lambda at: -shared[at])[: body.get("top_n")]
        results = [{"index": at, "relevance_score": shared[at]} for at in order]
        return web.json_response({"id": "r1", "results": results, "meta": {"billed_units": {"search_units": 1}}})

    async def _send_events(self, request: web.Request, events: list[dict[str, Any]]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(b"event: %b\ndata: " % event["type"].encode() + orjson.dumps(event) + b"\n\n")
            await asyncio.sleep(self.paces)
        await response.write_eof()
        return response


class Refused(Exception):
    """What the API refuses."""


def refused(status: int, message: str, code: str | None = None) -> web.Response:
    """A refusal in OpenAI's form."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return web.json_response({"error": error}, status=status)


async def _read(request: web.Request) -> Received:
    if request.content_type == "application/json":
        return Received(request.path, await request.json())
    received = Received(request.path, {})
    reader = await request.multipart()
    async for part in reader:
        assert isinstance(part, BodyPartReader)
        name = part.name or ""
        data = bytes(await part.read())
        if part.filename is not None:
            received.files.append((name, part.filename, part.headers.get("Content-Type", ""), data))
        elif name.endswith("[]"):
            received.body.setdefault(name, []).append(data.decode())
        else:
            received.body[name] = data.decode()
    return received


def _only(body: dict[str, Any], known: list[str]) -> None:
    if unknown := sorted(body.keys() - {*known, "timestamp_granularities[]"}):
        raise Refused(f"Unrecognized request argument supplied: {', '.join(unknown)}")
    if "model" not in body:
        raise Refused("you must provide a model parameter")


def _one_sound(received: Received) -> None:
    if [name for name, *_ in received.files] != ["file"]:
        raise Refused("expected one file")
    if not received.files[0][1].endswith((".wav", ".mp3", ".m4a", ".ogg", ".webm", ".flac")):
        raise Refused("Invalid file format.")


def _judged(given: Any) -> dict[str, Any]:
    text = given if isinstance(given, str) else " ".join(part.get("text", "") for part in given) if given else ""
    flags = {name: name in text for name in CATEGORIES}
    return {
        "flagged": any(flags.values()),
        "categories": flags,
        "category_scores": {name: 0.9 if flagged else 0.1 for name, flagged in flags.items()},
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }
