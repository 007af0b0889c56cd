"""`POST /v1/audio/transcriptions` and `/v1/audio/translations`: texts of sounds, from a MediaService."""

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import Field
from soma.errors.v1 import reasons
from soma.model.v1.media_service_pb2 import (
    TranscribeRequest,
    TranscribeResponse,
    Transcript,
    TranscriptionOptions,
    TranscriptSegment,
    TranslateRequest,
)
from soma.model.v1.message_pb2 import Media, Usage
from typing_extensions import TypedDict

from gateway.edge.disconnect import CancelOnDisconnect
from gateway.edge.media import MEDIA_TYPE, Holder
from gateway.edge.multipart import Upload, UploadForm
from gateway.edge.openai import subtitles
from gateway.edge.openai.completion import DONE, KEEP_ALIVE
from gateway.edge.openai.forms import members_of
from gateway.edge.openai.words import QUERY, missing, refuse, unsupported
from gateway.edge.provider_params import members_of as object_in
from gateway.edge.provider_params import sent
from gateway.edge.relaying import cut, relayed
from gateway.edge.reply import JSON, Reply
from gateway.edge.request_model import Reader, open_ended
from services.mesh.call.call import principal
from services.mesh.transport.departure import Departure

if TYPE_CHECKING:
    from soma.model.v1.media_service_pb2_grpc import MediaServiceAsyncStub

_Options = TranscriptionOptions
_DETAILS: "dict[str, TranscriptionOptions.Detail.ValueType]" = {
    "json": _Options.DETAIL_TEXT,
    "text": _Options.DETAIL_TEXT,
    "srt": _Options.DETAIL_SEGMENTS,
    "vtt": _Options.DETAIL_SEGMENTS,
    "verbose_json": _Options.DETAIL_SEGMENTS,
    "diarized_json": _Options.DETAIL_SPEAKERS,
}
_GRANULARITIES = {"word": _Options.TIMESTAMPS_WORD, "segment": _Options.TIMESTAMPS_SEGMENT}
_PLAIN = b"text/plain; charset=utf-8"
_VTT = b"text/vtt; charset=utf-8"
_SRT = b"application/x-subrip; charset=utf-8"
_NUMBERS, _FLAGS = frozenset({"temperature"}), frozenset({"stream"})


@open_ended
class TranscriptionRequest(TypedDict, total=False):
    """The parameters that are read. Others reach the provider as they are."""

    model: str
    language: Annotated[str, Field(max_length=64)]
    prompt: Annotated[str, Field(max_length=65_536)]
    temperature: Annotated[float, Field(ge=0, le=2)]
    response_format: Literal["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]
    timestamp_granularities: Annotated[list[Literal["word", "segment"]], Field(max_length=2)]
    stream: bool


READER = Reader(TranscriptionRequest, QUERY)
KNOWN = frozenset(TranscriptionRequest.__annotations__)


class Transcriptions:
    """Answers requests for texts of sounds from a MediaService."""

    def __init__(self, media: "MediaServiceAsyncStub", blobs: Holder, timeout: float) -> None:
        self._media = media
        self._blobs = blobs
        self._timeout = timeout

    async def transcribe(self, form: UploadForm, departure: Departure, reply: Reply) -> None:
        """Write down what is said.

        Raises:
            InvalidArgument: a parameter is not valid; the error names it.
            MeshError: the transcription failed, or the client left (Cancelled).
        """
        ask, upload = _ask(form)
        request = TranscribeRequest(model=ask.get("model", ""), options=_options(ask), stream=ask.get("stream", False))
        _describe(request.audio, upload)
        holding = self._blobs.hold(principal().tenant_id, upload.data)
        del form, upload
        async with holding as hash:
            request.audio.hash = hash
            call = self._media.Transcribe(request, timeout=self._timeout)
            try:
                async with CancelOnDisconnect(departure):
                    if request.stream:
                        last = await _stream(call, reply)
                    else:
                        transcript, usage = await _collect(call)
            finally:
                call.cancel()
        if request.stream:
            await reply.end(last)
        else:
            await reply.whole(200, *_shown(ask, transcript, usage, "transcribe"))

    async def translate(self, form: UploadForm, departure: Departure, reply: Reply) -> None:
        """Write down in English what is said.

        Raises:
            InvalidArgument: a parameter is not valid; the error names it.
            MeshError: the translation failed, or the client left (Cancelled).
        """
        ask, upload = _ask(form)
        if ask.get("stream"):
            unsupported("stream")
        request = TranslateRequest(model=ask.get("model", ""), options=_options(ask))
        _describe(request.audio, upload)
        holding = self._blobs.hold(principal().tenant_id, upload.data)
        del form, upload
        async with holding as hash, CancelOnDisconnect(departure):
            request.audio.hash = hash
            response = await self._media.Translate(request, timeout=self._timeout)
        await reply.whole(200, *_shown(ask, response.transcript, response.media.usage, "translate"))


def _ask(form: UploadForm) -> tuple[TranscriptionRequest, Upload]:
    """The parameters of a form, and its file."""
    ask = READER.members(members_of(form, numbers=_NUMBERS, flags=_FLAGS))
    files = dict(form.files)
    upload = files.pop("file", None)
    if files:
        unsupported(next(iter(files)))
    if len(form.files) > 1:
        refuse("Invalid 'file': expected one file.", "file", reasons.INVALID_VALUE)
    if upload is None:
        missing("file")
    if not upload.data:
        refuse("Invalid 'file': the file is empty.", "file", reasons.MEDIA_INVALID)
    return ask, upload


def _describe(media: Media, upload: Upload) -> None:
    """Say what the client said of its file. A type that is none is left to the bytes."""
    media.name = upload.name[:512]
    said = upload.media_type.partition(";")[0].strip().lower()
    if MEDIA_TYPE.fullmatch(said) and len(said) <= 128:
        media.media_type = said


def _options(ask: TranscriptionRequest) -> TranscriptionOptions:
    wanted = ask.get("timestamp_granularities", [])
    form = ask.get("response_format", "json")
    if wanted and form != "verbose_json":
        refuse(
            "Invalid 'timestamp_granularities': only possible with the response_format 'verbose_json'.",
            "timestamp_granularities",
            reasons.INVALID_VALUE,
        )
    return TranscriptionOptions(
        language=ask.get("language", ""),
        prompt=ask.get("prompt", ""),
        temperature=ask.get("temperature"),
        detail=_DETAILS[form],
        timestamps=[_GRANULARITIES[each] for each in dict.fromkeys(wanted)],
        provider_params=sent(ask, ask.keys() - KNOWN),
    )


async def _collect(events: AsyncIterable[TranscribeResponse]) -> tuple[Transcript, Usage]:
    async for event in events:
        kind = event.WhichOneof("payload")
        if kind == "error":
            raise relayed(event.error)
        if kind == "finished":
            return event.finished.transcript, event.finished.media.usage
    raise cut()


async def _stream(events: AsyncIterable[TranscribeResponse], reply: Reply) -> bytes:
    """Send events as the text is made; return the last ones."""
    async for event in events:
        match event.WhichOneof("payload"):
            case "started":
                await reply.begin_events()
            case "heartbeat":
                if reply.status:
                    await reply.event(KEEP_ALIVE)
            case "delta":
                delta = {"type": "transcript.text.delta", "delta": event.delta.text}
                if event.delta.segment_id:
                    delta["segment_id"] = event.delta.segment_id
                await reply.event(_event(delta | object_in(event.delta.details)))
            case "segment":
                await reply.event(_event(_spoken(event.segment)))
            case "error":
                raise relayed(event.error)
            case "finished":
                transcript = event.finished.transcript
                done = {"type": "transcript.text.done", "text": transcript.text}
                return _event({**done, **object_in(transcript.details), **_usage(event.finished.media.usage)}) + DONE
    raise cut()


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"


def _shown(ask: TranscriptionRequest, transcript: Transcript, usage: Usage, task: str) -> tuple[bytes, bytes]:
    """The media type and the body of an answer, in the form that was asked for."""
    match ask.get("response_format", "json"):
        case "text":
            return _PLAIN, f"{transcript.text.rstrip()}\n".encode()
        case "srt":
            return _SRT, subtitles.srt(transcript.segments).encode()
        case "vtt":
            return _VTT, subtitles.vtt(transcript.segments).encode()
        case "verbose_json":
            content: dict[str, Any] = {"task": task, "language": transcript.language}
            content |= {"duration": transcript.duration_seconds, "text": transcript.text}
            content["segments"] = [_segment(each) for each in transcript.segments]
            if transcript.words:
                content["words"] = [
                    {"word": each.word, "start": each.start_seconds, "end": each.end_seconds}
                    for each in transcript.words
                ]
        case "diarized_json":
            content = {"task": task, "duration": transcript.duration_seconds, "text": transcript.text}
            content["segments"] = [_spoken(each) for each in transcript.segments]
        case _:
            content = {"text": transcript.text}
    return JSON, orjson.dumps({**content, **object_in(transcript.details), **_usage(usage)})


def _segment(segment: TranscriptSegment) -> dict[str, Any]:
    own = segment.segment_id
    return {
        "id": int(own) if own.isascii() and own.isdigit() else own,
        "start": segment.start_seconds,
        "end": segment.end_seconds,
        "text": segment.text,
        **object_in(segment.details),
    }


def _spoken(segment: TranscriptSegment) -> dict[str, Any]:
    """A segment with its speaker."""
    return {
        "type": "transcript.text.segment",
        "id": segment.segment_id,
        "start": segment.start_seconds,
        "end": segment.end_seconds,
        "text": segment.text,
        "speaker": segment.speaker,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    """The usage in OpenAI's form: tokens, or seconds; nothing if it is an estimate."""
    if usage.estimated:
        return {}
    if usage.total_tokens:
        tokens = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
        return {"usage": {"type": "tokens", **tokens, "total_tokens": usage.total_tokens}}
    return {"usage": {"type": "duration", "seconds": usage.audio_seconds}}
