"""Has a vendor speak a text (https://platform.openai.com/docs/api-reference/audio/createSpeech)."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import orjson
from soma.errors.v1 import reasons
from soma.model.v1.media_service_pb2 import MediaFinished, SoundPiece, SpeakRequest, SpeakResponse, SpeechStarted

from services.mesh.call import errors
from services.model.adapters import refusal
from services.model.adapters.counts import member
from services.model.adapters.http1.connections import Form
from services.model.adapters.specialists.request import Asked, Member, asked
from services.model.adapters.upstream import Upstream
from services.model.json_text import decimal
from services.model.media.media_type import normal
from services.model.methods import Speech

_OWN = frozenset({"input", "voice", "instructions", "response_format", "speed", "stream", "stream_format"})
# What the id of a voice of the account begins with. OpenAI names such a voice by an object.
_OWN_VOICE = "voice_"
_FORM = Form("application/json", "*/*")
# The types of OpenAI's formats, for servers that do not say them.
FORMATS = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_UNSAID = frozenset({"", "application/octet-stream", "binary/octet-stream"})
# Some hours of the largest format.
_LARGEST = 1024 * 1024 * 1024
_LARGEST_ERROR = 64 * 1024


def speech_request(provider: str, method: Speech, path: str, request: SpeakRequest, model: str) -> Asked:
    """The request for a speech.

    Raises:
        InvalidArgument: the vendor lacks something that the request asks for; the error names it.
    """
    members = [
        Member(name, value, field)
        for name, value, field in (
            ("voice", {"id": request.voice} if request.voice.startswith(_OWN_VOICE) else request.voice, "voice"),
            ("instructions", request.instructions, "instructions"),
            ("response_format", request.format, "format"),
        )
        if value
    ]
    if request.HasField("speed"):
        members.append(Member("speed", decimal(request.speed), "speed"))
    fixed = {"model": model, "input": request.input}
    return asked(provider, method, path, fixed, members, request.provider_params, own=_OWN, drop=request.drop_params)


async def spoken(upstream: Upstream, made: Asked, format: str) -> AsyncGenerator[SpeakResponse, None]:
    """The start with the type of the sound, its bytes as they arrive, and the end.

    Raises:
        MeshError: the vendor failed, sent no sound, or ended it before it was complete.
    """
    said: list[str] = []

    def begins(headers: Mapping[str, str]) -> None:
        said.append(normal(headers.get("content-type", "")))

    begun, size = False, 0
    async with aclosing(upstream.send(made.path, [orjson.dumps(made.body)], _FORM, begins=begins)) as chunks:
        async for chunk in chunks:
            if not begun:
                media_type = _sound_type(said[0], format)
                if not media_type:
                    raise _no_sound(upstream.name, said[0], chunk)
                begun = True
                yield SpeakResponse(started=SpeechStarted(media_type=media_type))
            size += len(chunk)
            if size > _LARGEST:
                raise errors.Unavailable(
                    f"{upstream.name} sent more than {_LARGEST} bytes of sound and did not end",
                    reason=reasons.PROVIDER_ENDLESS,
                    metadata={"provider": upstream.name},
                )
            yield SpeakResponse(sound=SoundPiece(data=chunk))
    if not begun:
        raise refusal.protocol_error(upstream.name, "its sound is empty")
    yield SpeakResponse(finished=MediaFinished())


def _sound_type(said: str, format: str) -> str:
    """The media type of a sound; empty if the answer is none."""
    if said in _UNSAID:
        return FORMATS.get(format or "mp3", "application/octet-stream")
    return said if said.startswith(("audio/", "video/")) or said == "application/ogg" else ""


def _no_sound(provider: str, said: str, chunk: bytes) -> errors.MeshError:
    """The error for an answer of another kind, which may say what failed."""
    try:
        error = member(orjson.loads(chunk[:_LARGEST_ERROR]), "error")
    except orjson.JSONDecodeError:
        error = None
    if error:
        return refusal.reported_error(provider, error)
    return refusal.protocol_error(provider, f"it sent {said} in place of a sound")
