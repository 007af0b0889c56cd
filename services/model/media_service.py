"""The servicer of soma.model.v1.MediaService: sound and pictures from models of providers."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from soma.model.v1 import media_service_pb2_grpc
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.media_service_pb2 import (
    EditImageRequest,
    EditImageResponse,
    GenerateImageRequest,
    GenerateImageResponse,
    SpeakRequest,
    SpeakResponse,
    TranscribeRequest,
    TranscribeResponse,
    TranslateRequest,
    TranslateResponse,
)

from services.mesh.call.call import principal
from services.mesh.call.pipeline import Context
from services.model.specialists import Specialists
from services.model.works import Works

_HEAR = (Model.CAPABILITY_TRANSCRIPTION, "write down what is said")
_SPEAK = (Model.CAPABILITY_SPEECH, "speak a text")
_DRAW = (Model.CAPABILITY_IMAGE, "make pictures")


class MediaService(media_service_pb2_grpc.MediaServiceServicer):
    """Chooses the provider that answers each request."""

    def __init__(self, specialists: Specialists, works: Works) -> None:
        self._specialists = specialists
        self._works = works

    async def Transcribe(
        self, request: TranscribeRequest, context: Context
    ) -> AsyncGenerator[TranscribeResponse, None]:
        route = await self._specialists.find(request.model, *_HEAR)
        async with aclosing(self._works.transcribe(principal(), route, request)) as events:
            async for event in events:
                yield event

    async def Translate(self, request: TranslateRequest, context: Context) -> TranslateResponse:
        route = await self._specialists.find(request.model, *_HEAR)
        return await self._works.translate(principal(), route, request)

    async def Speak(self, request: SpeakRequest, context: Context) -> AsyncGenerator[SpeakResponse, None]:
        route = await self._specialists.find(request.model, *_SPEAK)
        async with aclosing(self._works.speak(principal(), route, request)) as events:
            async for event in events:
                yield event

    async def GenerateImage(
        self, request: GenerateImageRequest, context: Context
    ) -> AsyncGenerator[GenerateImageResponse, None]:
        route = await self._specialists.find(request.model, *_DRAW)
        async with aclosing(self._works.draw(principal(), route, request)) as events:
            async for event in events:
                yield event

    async def EditImage(self, request: EditImageRequest, context: Context) -> AsyncGenerator[EditImageResponse, None]:
        route = await self._specialists.find(request.model, *_DRAW)
        async with aclosing(self._works.draw(principal(), route, request)) as events:
            async for event in events:
                yield _edited(event)


def _edited(event: GenerateImageResponse) -> EditImageResponse:
    """The same event of changing pictures."""
    match event.WhichOneof("payload"):
        case "started":
            return EditImageResponse(started=event.started)
        case "partial":
            return EditImageResponse(partial=event.partial)
        case "image":
            return EditImageResponse(image=event.image)
        case "finished":
            return EditImageResponse(finished=event.finished)
    return EditImageResponse(heartbeat=event.heartbeat)
