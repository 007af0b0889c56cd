"""`POST /v1/images/generations` and `/v1/images/edits`: pictures from a MediaService, whole or as events."""

import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import orjson
from pydantic import Field
from soma.errors.v1 import reasons
from soma.model.v1.media_service_pb2 import (
    EditImageRequest,
    EditImageResponse,
    GeneratedImage,
    GenerateImageRequest,
    GenerateImageResponse,
    ImageOptions,
    ImagesFinished,
)
from soma.model.v1.message_pb2 import Media, Usage
from typing_extensions import TypedDict

from gateway.edge.disconnect import CancelOnDisconnect
from gateway.edge.media import MEDIA_TYPE, Attached, Holder, held
from gateway.edge.multipart import Upload, UploadForm
from gateway.edge.openai.completion import DONE, KEEP_ALIVE
from gateway.edge.openai.forms import members_of
from gateway.edge.openai.words import BODY, QUERY, missing, refuse, unsupported
from gateway.edge.provider_params import members_of as object_in
from gateway.edge.provider_params import sent
from gateway.edge.relaying import cut, relayed
from gateway.edge.reply import Reply
from gateway.edge.request_model import Reader, must, open_ended, strict
from services.mesh.call.call import principal
from services.mesh.transport.departure import Departure

if TYPE_CHECKING:
    from soma.model.v1.media_service_pb2_grpc import MediaServiceAsyncStub

Event: TypeAlias = GenerateImageResponse | EditImageResponse
MOST_PICTURES = 16
_Word = Annotated[str, Field(max_length=64)]
_Prompt = Annotated[
    str,
    Field(max_length=131_072),
    must(bool, reasons.INVALID_VALUE, "Invalid '{param}': it cannot be an empty string."),
]


@open_ended
class ImageRequest(TypedDict, total=False):
    """The parameters that are read. Others reach the provider as they are."""

    model: str | None
    prompt: _Prompt | None
    n: Annotated[int, Field(ge=1, le=10)] | None
    size: _Word | None
    quality: _Word | None
    background: _Word | None
    output_format: _Word | None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None
    response_format: Literal["b64_json", "url"] | None
    stream: bool | None
    user: Annotated[str, Field(max_length=256)] | None


@strict
class PictureReference(TypedDict, total=False):
    """A picture by its address, as a data URL, or by the id of a file."""

    image_url: str
    file_id: str


@open_ended
class EditRequest(ImageRequest, total=False):
    """The same with pictures, in a JSON body."""

    images: Annotated[list[PictureReference], Field(min_length=1, max_length=MOST_PICTURES)] | None
    mask: PictureReference | None


GENERATIONS, EDITS, FORMS = Reader(ImageRequest, BODY), Reader(EditRequest, BODY), Reader(ImageRequest, QUERY)
KNOWN = frozenset({"images", "mask"} | ImageRequest.__annotations__.keys())
_NUMBERS, _FLAGS = frozenset({"n", "output_compression", "partial_images"}), frozenset({"stream"})


class Images:
    """Answers requests for pictures from a MediaService."""

    def __init__(self, media: "MediaServiceAsyncStub", blobs: Holder, timeout: float) -> None:
        self._media = media
        self._blobs = blobs
        self._timeout = timeout

    async def generate(self, body: bytes | bytearray, departure: Departure, reply: Reply) -> None:
        """Make pictures.

        Raises:
            InvalidArgument: a parameter is not valid; the error names it.
            MeshError: the pictures could not be made, or the client left (Cancelled).
        """
        ask = GENERATIONS.json(body)
        request = GenerateImageRequest(model=ask.get("model") or "", prompt=_prompt(ask), options=_options(ask))
        call = self._media.GenerateImage(request, timeout=self._timeout)
        await self._answer(call, ask, "image_generation", departure, reply)

    async def edit(self, given: UploadForm | bytes | bytearray, departure: Departure, reply: Reply) -> None:
        """Change pictures, which are files of a form or members of a JSON body.

        Raises:
            InvalidArgument: a parameter is not valid; the error names it.
            MeshError: the pictures could not be changed, or the client left (Cancelled).
        """
        attached = Attached()
        files: list[tuple[Media, bytes]] = []
        request = EditImageRequest()
        if isinstance(given, UploadForm):
            ask: ImageRequest = FORMS.members(members_of(given, numbers=_NUMBERS, flags=_FLAGS))
            _attach_files(request, given, files)
        else:
            edit = EDITS.json(given)
            ask = edit
            _refer(request, edit, attached)
        del given
        if not request.images:
            missing("image")
        request.model, request.prompt = ask.get("model") or "", _prompt(ask)
        request.options.CopyFrom(_options(ask))
        tenant_id = principal().tenant_id
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(held(attached.inline, self._blobs, tenant_id))
            while files:
                media, data = files.pop()
                media.hash = await stack.enter_async_context(self._blobs.hold(tenant_id, data))
                del data
            call = self._media.EditImage(request, timeout=self._timeout)
            await self._answer(call, ask, "image_edit", departure, reply)

    async def _answer(self, call: Any, ask: ImageRequest, kind: str, departure: Departure, reply: Reply) -> None:
        """Answer with the events of a call; the events of a stream begin with `kind`."""
        try:
            async with CancelOnDisconnect(departure):
                if ask.get("stream"):
                    last = await _stream(call, reply, kind)
                else:
                    body = await _collect(call)
        finally:
            call.cancel()
        if ask.get("stream"):
            await reply.end(last)
        else:
            await reply.json(200, body)


def _prompt(ask: ImageRequest) -> str:
    prompt = ask.get("prompt")
    if prompt is None:
        missing("prompt")
    return prompt


def _options(ask: ImageRequest) -> ImageOptions:
    partial = ask.get("partial_images")
    if partial and not ask.get("stream"):
        refuse("Invalid 'partial_images': only possible with 'stream'.", "partial_images", reasons.INVALID_VALUE)
    return ImageOptions(
        count=ask.get("n"),
        size=ask.get("size") or "",
        quality=ask.get("quality") or "",
        background=ask.get("background") or "",
        output_format=ask.get("output_format") or "",
        output_compression=ask.get("output_compression"),
        partial_images=(partial or 0) if ask.get("stream") else None,
        urls=ask.get("response_format") == "url",
        user=ask.get("user") or "",
        provider_params=sent(ask, ask.keys() - KNOWN),
    )


def _attach_files(request: EditImageRequest, form: UploadForm, files: list[tuple[Media, bytes]]) -> None:
    """Add the pictures of a form, whose bytes are still to be held."""
    for name, upload in form.files:
        if name not in ("image", "image[]", "mask") and not (name.startswith("image[") and name.endswith("]")):
            unsupported(name)
        if not upload.data:
            refuse(f"Invalid '{name}': the file is empty.", name, reasons.MEDIA_INVALID)
        if name == "mask":
            if request.HasField("mask"):
                refuse("Invalid 'mask': expected one file.", "mask", reasons.INVALID_VALUE)
            media = request.mask
        else:
            media = request.images.add()
        _describe(media, upload)
        files.append((media, upload.data))
    if len(request.images) > MOST_PICTURES:
        message = f"Invalid 'image': array too long. Expected an array with maximum length {MOST_PICTURES}."
        refuse(message, "image", reasons.ARRAY_ABOVE_MAX_LENGTH)


def _describe(media: Media, upload: Upload) -> None:
    media.name = upload.name[:512]
    said = upload.media_type.partition(";")[0].strip().lower()
    if MEDIA_TYPE.fullmatch(said) and len(said) <= 128:
        media.media_type = said


def _refer(request: EditImageRequest, ask: EditRequest, attached: Attached) -> None:
    """Add the pictures of a JSON body."""
    for number, each in enumerate(ask.get("images") or ()):
        _point(request.images.add(), each, f"images[{number}]", attached)
    if mask := ask.get("mask"):
        _point(request.mask, mask, "mask", attached)


def _point(media: Media, given: PictureReference, param: str, attached: Attached) -> None:
    if "image_url" in given:
        attached.url(media, given["image_url"], f"{param}.image_url", "image/")
    elif "file_id" in given:
        attached.file(media, given["file_id"], f"{param}.file_id")
    else:
        missing(f"{param}.image_url")


async def _collect(events: AsyncIterator[Event]) -> bytes:
    """The answer with all pictures."""
    shown: list[dict[str, Any]] = []
    async for event in events:
        match event.WhichOneof("payload"):
            case "image":
                shown.append(_shown(event.image))
            case "error":
                raise relayed(event.error)
            case "finished":
                return orjson.dumps({"created": int(time.time()), "data": shown, **_facts(event.finished)})
    raise cut()


async def _stream(events: AsyncIterator[Event], reply: Reply, kind: str) -> bytes:
    """Send pictures as they come; return the last of them. The last one has the facts about all."""
    last: dict[str, Any] | None = None
    created = int(time.time())
    async for event in events:
        match event.WhichOneof("payload"):
            case "started":
                await reply.begin_events()
            case "heartbeat":
                if reply.status:
                    await reply.event(KEEP_ALIVE)
            case "partial":
                number = event.partial.partial_index
                partial = {"created_at": created, "partial_image_index": number, **_shown(event.partial)}
                await reply.event(_event(f"{kind}.partial_image", partial))
            case "image":
                if last is not None:
                    await reply.event(_event(f"{kind}.completed", last))
                last = {"created_at": created, **_shown(event.image)}
            case "error":
                raise relayed(event.error)
            case "finished":
                return _event(f"{kind}.completed", {**(last or {}), **_facts(event.finished)}) + DONE
    raise cut()


def _event(kind: str, content: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: " % kind.encode() + orjson.dumps({"type": kind, **content}) + b"\n\n"


def _shown(picture: GeneratedImage) -> dict[str, Any]:
    media = picture.image
    found = {"url": media.url} if media.WhichOneof("source") == "url" else {"b64_json": _base64(media.data)}
    return found | ({"revised_prompt": picture.revised_prompt} if picture.revised_prompt else {})


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _facts(finished: ImagesFinished) -> dict[str, Any]:
    """Size, quality and usage: as the provider says them, else in tokens if it counts them."""
    facts: dict[str, Any] = object_in(finished.details)
    if "usage" not in facts and (counted := _usage(finished.media.usage)):
        facts["usage"] = counted
    return facts


def _usage(usage: Usage) -> dict[str, int]:
    if not usage.total_tokens:
        return {}
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
