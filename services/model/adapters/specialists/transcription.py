"""Has a vendor write down what is said (https://platform.openai.com/docs/api-reference/audio/createTranscription)."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import orjson
from soma.model.v1.media_service_pb2 import (
    TranscribeResponse,
    TranscriptDelta,
    TranscriptionFinished,
    TranscriptionOptions,
)

from services.model.adapters import refusal
from services.model.adapters.multipart import File
from services.model.adapters.specialists import transcript
from services.model.adapters.specialists.request import Asked, Member, asked, missing, unsupported
from services.model.adapters.specialists.stream import ended
from services.model.adapters.sse import EventParser
from services.model.adapters.upstream import Upstream
from services.model.json_text import decimal, object_text
from services.model.media.contents import Content
from services.model.methods import Detail, Transcriptions

_DETAILS: "dict[TranscriptionOptions.Detail.ValueType, Detail]" = {
    TranscriptionOptions.DETAIL_UNSPECIFIED: "text",
    TranscriptionOptions.DETAIL_TEXT: "text",
    TranscriptionOptions.DETAIL_SEGMENTS: "segments",
    TranscriptionOptions.DETAIL_SPEAKERS: "speakers",
}
_GRANULARITIES = {TranscriptionOptions.TIMESTAMPS_SEGMENT: "segment", TranscriptionOptions.TIMESTAMPS_WORD: "word"}
# Members that the contract has fields for.
_OWN = frozenset(
    {"file", "file_url", "file_id", "url", "language", "prompt", "temperature", "response_format"}
    | {"timestamp_granularities", "timestamp_granularities[]", "stream"}
)
# Larger than the transcript of a day, with the times of all its words.
_LARGEST = 64 * 1024 * 1024
# The end of a file's name, by which some vendors tell the format.
_ENDINGS = {
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/mp4": "m4a",
    "audio/aac": "aac",
    "audio/webm": "webm",
    "audio/aiff": "aiff",
    "video/mp4": "mp4",
    "video/webm": "webm",
}


def transcription_request(
    provider: str,
    method: Transcriptions,
    path: str,
    model: str,
    options: TranscriptionOptions,
    sound: tuple[str, Content],
    *,
    stream: bool = False,
    english: bool = False,
) -> Asked:
    """The request for a transcript; `sound` is the name of its file, which may be empty, and its bytes.

    Raises:
        InvalidArgument: the vendor lacks something that the options ask for; the error names it.
    """
    if english and not method.translations:
        raise missing(provider, model, "writes down in English what is said")
    detail = _DETAILS[options.detail]
    if detail not in method.details:
        raise unsupported(provider, "options.detail")
    members = []
    for name in ("language", "prompt"):
        if value := getattr(options, name):
            members.append(Member(name, value, f"options.{name}"))
    if options.HasField("temperature"):
        members.append(Member("temperature", decimal(options.temperature), "options.temperature"))
    if options.timestamps and not english:
        wanted = [_GRANULARITIES[each] for each in options.timestamps]
        members.append(Member("timestamp_granularities", wanted, "options.timestamps"))
    if english:
        members = [each for each in members if each.name != "language"]
    fixed = {"model": model, **method.details[detail]}
    if stream:
        fixed["stream"] = True
    made = asked(
        provider,
        method,
        path,
        fixed,
        members,
        options.provider_params,
        own=_OWN,
        drop=options.drop_params,
        within="options.",
    )
    name, content = sound
    made.files.append(("file", File(_file_name(name, content.media_type), content.media_type, content.data)))
    return made


async def transcribed(upstream: Upstream, made: Asked) -> TranscriptionFinished:
    """The whole transcript.

    Raises:
        MeshError: the vendor failed, or its answer has no text.
    """
    path = made.path
    data, form = made.form()
    # A sound is large, and the answer may take minutes.
    del made
    return transcript.finished(upstream.name, await upstream.whole(path, data, form))


async def transcribing(upstream: Upstream, made: Asked) -> AsyncGenerator[TranscribeResponse, None]:
    """The pieces of a transcript as they are made, then the whole of it.

    Raises:
        MeshError: the vendor failed, or its answer is incomplete.
    """
    path = made.path
    data, form = made.form()
    sent = [data]
    del made, data
    events, reader, document = EventParser(), _Reader(upstream.name), bytearray()
    begun = is_document = False
    async with aclosing(upstream.send(path, sent, form)) as chunks:
        async for chunk in chunks:
            if not begun and (head := chunk.lstrip()):
                begun, is_document = True, head[:1] == b"{"
            if is_document:
                # A model that cannot do it while it listens answers as a whole.
                document += chunk
                if len(document) > _LARGEST:
                    raise refusal.protocol_error(upstream.name, "its transcript is too large")
                continue
            for event in reader.read(events.feed(chunk)):
                yield event
    if is_document:
        try:
            found = orjson.loads(document)
        except orjson.JSONDecodeError as error:
            raise refusal.protocol_error(upstream.name, "its answer is not JSON") from error
        yield TranscribeResponse(finished=transcript.finished(upstream.name, found))
        return
    for event in ended(upstream.name, events, reader.read):
        yield event
    yield TranscribeResponse(finished=reader.finished())


class _Reader:
    """Reads the events of a transcript, in the forms of OpenAI, Mistral and vLLM."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._texts: list[str] = []
        self._segments: list[dict[str, Any]] = []
        self._language = ""
        self._whole: TranscriptionFinished | None = None
        self._ended = False

    def read(self, events: Sequence[bytes]) -> list[TranscribeResponse]:
        """What these events tell.

        Raises:
            MeshError: an event is an error, or is none.
        """
        found: list[TranscribeResponse] = []
        for data in events:
            if data == b"[DONE]":
                self._ended = True
                continue
            try:
                event = orjson.loads(data)
            except orjson.JSONDecodeError as error:
                raise refusal.unreadable(self._provider, "an event of its transcript", data) from error
            if not isinstance(event, dict):
                raise refusal.unreadable(self._provider, "an event of its transcript", data)
            if event.get("error"):
                raise refusal.reported_error(self._provider, event["error"])
            if (response := self._event(event)) is not None:
                found.append(response)
        return found

    def finished(self) -> TranscriptionFinished:
        """The end of the transcript.

        Raises:
            Unavailable: the events ended before it.
        """
        if self._whole is not None:
            return self._whole
        if not self._ended:
            raise refusal.stream_cut(self._provider)
        # vLLM has no event with the whole text.
        return transcript.finished(self._provider, {"text": "".join(self._texts)})

    def _event(self, event: dict[str, Any]) -> TranscribeResponse | None:
        kind = str(event.get("type", ""))
        if kind.endswith("text.delta"):
            return self._delta(event.get("delta", event.get("text")), event)
        if kind.endswith(".segment"):
            self._segments.append(event)
            return TranscribeResponse(segment=transcript.segment(event))
        if kind.endswith(".language"):
            self._language = str(event.get("audio_language") or "")
        elif kind.endswith(".done"):
            whole = {"text": "".join(self._texts), "segments": self._segments, "language": self._language}
            whole |= {name: value for name, value in event.items() if value not in (None, [], "")}
            whole.pop("type", None)
            self._whole = transcript.finished(self._provider, whole)
        elif isinstance(choices := event.get("choices"), list) and choices and isinstance(choices[0], dict):
            delta = choices[0].get("delta")
            text = delta.get("content") if isinstance(delta, dict) else None
            return self._delta(text, {}) if text else None
        return None

    def _delta(self, text: Any, event: dict[str, Any]) -> TranscribeResponse | None:
        if not isinstance(text, str) or not text:
            return None
        self._texts.append(text)
        details = {"logprobs": event["logprobs"]} if event.get("logprobs") else None
        return TranscribeResponse(
            delta=TranscriptDelta(
                text=text,
                segment_id=str(event.get("segment_id") or ""),
                details=object_text(details) if details else "",
            )
        )


def _file_name(name: str, media_type: str) -> str:
    ending = _ENDINGS.get(media_type, "")
    if not name:
        return f"audio.{ending or 'bin'}"
    return name if "." in name or not ending else f"{name}.{ending}"
