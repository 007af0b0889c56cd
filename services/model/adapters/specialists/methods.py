"""The methods of one vendor's server beside chat, called with the bytes that the requests need."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.media_service_pb2 import (
    EditImageRequest,
    GenerateImageRequest,
    GenerateImageResponse,
    SpeakRequest,
    SpeakResponse,
    TranscribeRequest,
    TranscribeResponse,
    TranscriptionFinished,
    TranscriptionOptions,
    TranslateRequest,
)
from soma.model.v1.message_pb2 import Media
from soma.model.v1.model_service_pb2 import (
    GenerationStarted,
    ModerateRequest,
    ModerateResponse,
    RerankRequest,
    RerankResponse,
)

from services.mesh.call.call import principal
from services.mesh.call.errors import Internal
from services.model.adapters.specialists import image, moderation, rerank, speech, transcription
from services.model.adapters.specialists.request import Asked, missing
from services.model.adapters.upstream import Upstream
from services.model.media.contents import Content, Contents, Kind
from services.model.media.reader import MediaReader
from services.model.methods import Images, Method, Transcriptions
from services.model.vendor import Vendor

M = TypeVar("M", bound=Method)


class Methods:
    """Calls them; each refuses with MODEL_CAPABILITY_MISSING what the vendor has no method for.

    Args:
        path: makes the path of a request from that of the vendor's file and the name of the model.
    """

    def __init__(
        self, upstream: Upstream, vendor: Vendor, media: MediaReader | None, path: Callable[[str, str], Awaitable[str]]
    ) -> None:
        self._upstream = upstream
        self._vendor = vendor
        self._media = media
        self._path = path

    @property
    def capabilities(self) -> "frozenset[Model.Capability.ValueType]":
        """The capabilities of models that the vendor has a method for."""
        vendor = self._vendor
        methods = {
            Model.CAPABILITY_TRANSCRIPTION: vendor.transcriptions,
            Model.CAPABILITY_SPEECH: vendor.speech,
            Model.CAPABILITY_IMAGE: vendor.images,
            Model.CAPABILITY_MODERATION: vendor.moderations,
            Model.CAPABILITY_RERANK: vendor.rerank,
        }
        return frozenset(capability for capability, method in methods.items() if method is not None)

    async def transcribe(self, request: TranscribeRequest, model: str) -> AsyncGenerator[TranscribeResponse, None]:
        """Write down what is said: started, pieces if they are wanted, finished."""
        method = self._method(self._vendor.transcriptions, model, "writes down what is said")
        stream = request.stream and method.streams
        made = await self._transcription(method, method.path, model, request.options, request.audio, stream=stream)
        started = TranscribeResponse(started=GenerationStarted(dropped_params=made.dropped))
        if not stream:
            finished = await transcription.transcribed(self._upstream, made)
            yield started
            yield TranscribeResponse(finished=finished)
            return
        pieces = transcription.transcribing(self._upstream, made)
        del made
        begun = False
        async with aclosing(pieces):
            async for event in pieces:
                if not begun:
                    yield started
                begun = True
                yield event

    async def translate(self, request: TranslateRequest, model: str) -> tuple[TranscriptionFinished, Sequence[str]]:
        """Write down in English what is said; with the fields that were left out."""
        method = self._method(self._vendor.transcriptions, model, "writes down in English what is said")
        path = method.translations
        made = await self._transcription(method, path, model, request.options, request.audio, english=True)
        dropped = made.dropped
        return await transcription.transcribed(self._upstream, made), dropped

    async def speak(self, request: SpeakRequest, model: str) -> AsyncGenerator[SpeakResponse, None]:
        """Speak a text: started, pieces of the sound, finished."""
        method = self._method(self._vendor.speech, model, "speaks a text")
        path = await self._path(method.path, model)
        made = speech.speech_request(self._upstream.name, method, path, request, model)
        async with aclosing(speech.spoken(self._upstream, made, request.format)) as pieces:
            async for event in pieces:
                if event.HasField("started"):
                    event.started.generation.dropped_params.extend(made.dropped)
                yield event

    async def draw(
        self, request: GenerateImageRequest | EditImageRequest, model: str
    ) -> AsyncGenerator[GenerateImageResponse, None]:
        """Make pictures, or change them: started, unfinished and finished pictures, finished."""
        what = "changes pictures" if isinstance(request, EditImageRequest) else "makes pictures"
        method = self._method(self._vendor.images, model, what)
        made = await self._image_request(method, request, model)
        started = GenerateImageResponse(started=GenerationStarted(dropped_params=made.dropped))
        pictures = image.drawn(self._upstream, made)
        del made
        begun = False
        async with aclosing(pictures):
            async for event in pictures:
                if not begun:
                    yield started
                begun = True
                yield event

    async def moderate(self, request: ModerateRequest, model: str) -> ModerateResponse:
        """Judge texts and pictures."""
        method = self._method(self._vendor.moderations, model, "judges texts")
        pictures: list[tuple[Kind, Media]] = [
            ("image", part.image)
            for each in request.inputs
            for part in each.parts
            if part.WhichOneof("part") == "image" and method.images
        ]
        contents = await self._contents(pictures)
        path = await self._path(method.path, model)
        return await moderation.moderated(self._upstream, method, path, request, model, contents)

    async def rerank(self, request: RerankRequest, model: str) -> RerankResponse:
        """Sort documents by how well they fit a question."""
        method = self._method(self._vendor.rerank, model, "sorts texts")
        path = await self._path(method.path, model)
        return await rerank.reranked(self._upstream, method, path, request, model)

    def _method(self, method: M | None, model: str, what: str) -> M:
        if method is None:
            raise missing(self._vendor.title, model, what)
        return method

    async def _transcription(
        self,
        method: Transcriptions,
        path: str,
        model: str,
        options: TranscriptionOptions,
        audio: Media,
        *,
        stream: bool = False,
        english: bool = False,
    ) -> Asked:
        contents = await self._contents([("audio", audio)])
        sound = (audio.name, contents.content(audio))
        whole_path = await self._path(path, model)
        return transcription.transcription_request(
            self._upstream.name, method, whole_path, model, options, sound, stream=stream, english=english
        )

    async def _image_request(
        self, method: Images, request: GenerateImageRequest | EditImageRequest, model: str
    ) -> Asked:
        pictures: list[tuple[str, Content]] = []
        mask: Content | None = None
        path = method.path
        if isinstance(request, EditImageRequest):
            path = method.edits
            has_mask = request.HasField("mask")
            given: list[tuple[Kind, Media]] = [("image", each) for each in request.images]
            masks: list[tuple[Kind, Media]] = [("image", request.mask)] if has_mask else []
            contents = await self._contents([*given, *masks])
            pictures = [(each.name, contents.content(each)) for each in request.images]
            mask = contents.content(request.mask) if has_mask else None
        whole_path = await self._path(path, model)
        return image.image_request(
            self._upstream.name, method, whole_path, model, request.prompt, request.options, pictures, mask
        )

    async def _contents(self, given: Sequence[tuple[Kind, Media]]) -> Contents:
        if not given:
            return Contents({})
        if self._media is None:
            raise Internal("this provider was made without a reader of media")
        return await self._media.read(given, reads_urls=(), tenant_id=principal().tenant_id)
