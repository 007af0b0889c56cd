"""`POST /v1/audio/speech`: a spoken text from MediaService.Speak, as bytes while it is made, or as events."""

from base64 import b64encode
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import Field
from soma.errors.v1 import reasons
from soma.model.v1.media_service_pb2 import SpeakRequest, SpeakResponse
from soma.model.v1.message_pb2 import Usage
from typing_extensions import TypedDict

from gateway.edge.disconnect import CancelOnDisconnect
from gateway.edge.openai.completion import DONE, KEEP_ALIVE
from gateway.edge.openai.words import BODY, missing
from gateway.edge.provider_params import sent
from gateway.edge.relaying import cut, relayed
from gateway.edge.reply import Reply
from gateway.edge.request_model import Reader, TextOr, must, open_ended, strict
from services.mesh.transport.departure import Departure

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from soma.model.v1.media_service_pb2_grpc import MediaServiceAsyncStub


@strict
class VoiceObject(TypedDict):
    """A voice by its id."""

    id: str


@open_ended
class SpeechRequest(TypedDict, total=False):
    """The parameters that are read. Others reach the provider as they are."""

    model: str | None
    input: (
        Annotated[
            str,
            Field(max_length=131_072),
            must(bool, reasons.INVALID_VALUE, "Invalid '{param}': input cannot be an empty string."),
        ]
        | None
    )
    voice: TextOr[Annotated[str, Field(max_length=256)], VoiceObject] | None
    instructions: Annotated[str, Field(max_length=65_536)] | None
    response_format: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")] | None
    speed: Annotated[float, Field(ge=0.25, le=4)] | None
    stream_format: Literal["audio", "sse"] | None


READER = Reader(SpeechRequest, BODY)
KNOWN = frozenset(SpeechRequest.__annotations__)


class Speech:
    """Answers requests for speech from a MediaService."""

    def __init__(self, media: "MediaServiceAsyncStub", timeout: float) -> None:
        self._media = media
        self._timeout = timeout

    async def answer(self, body: bytes | bytearray, departure: Departure, reply: Reply) -> None:
        """Answer one request.

        Raises:
            InvalidArgument: a parameter is not valid; the error names it.
            MeshError: the speech failed, or the client left (Cancelled).
        """
        ask = READER.json(body)
        request = _request(ask)
        call = self._media.Speak(request, timeout=self._timeout)
        try:
            async with CancelOnDisconnect(departure):
                send = _events if ask.get("stream_format") == "sse" else _bytes
                last = await send(call, reply)
        finally:
            call.cancel()
        await reply.end(last)


def _request(ask: SpeechRequest) -> SpeakRequest:
    text = ask.get("input")
    if text is None:
        missing("input")
    voice = ask.get("voice") or ""
    return SpeakRequest(
        model=ask.get("model") or "",
        input=text,
        voice=voice if isinstance(voice, str) else voice["id"],
        instructions=ask.get("instructions") or "",
        format=ask.get("response_format") or "",
        speed=ask.get("speed"),
        provider_params=sent(ask, ask.keys() - KNOWN),
    )


async def _bytes(events: "AsyncIterable[SpeakResponse]", reply: Reply) -> bytes:
    """Send the bytes of the sound as they arrive."""
    async for event in events:
        match event.WhichOneof("payload"):
            case "started":
                await reply.begin_bytes(event.started.media_type.encode())
            case "sound":
                await reply.event(event.sound.data)
            case "finished":
                return b""
            case "error":
                raise relayed(event.error)
    raise cut()


async def _events(events: "AsyncIterable[SpeakResponse]", reply: Reply) -> bytes:
    """Send the sound as events in base64, as it arrives."""
    async for event in events:
        match event.WhichOneof("payload"):
            case "started":
                await reply.begin_events()
            case "sound":
                audio = b64encode(event.sound.data).decode()
                await reply.event(_event({"type": "speech.audio.delta", "audio": audio}))
            case "heartbeat":
                if reply.status:
                    await reply.event(KEEP_ALIVE)
            case "finished":
                return _event({"type": "speech.audio.done", "usage": _usage(event.finished.usage)}) + DONE
            case "error":
                raise relayed(event.error)
    raise cut()


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
