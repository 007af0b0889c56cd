"""Has a vendor make and change pictures (https://platform.openai.com/docs/api-reference/images)."""

import asyncio
import binascii
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import Any

import orjson
from soma.model.v1.media_service_pb2 import (
    GeneratedImage,
    GenerateImageResponse,
    ImageOptions,
    ImagesFinished,
    MediaFinished,
)
from soma.model.v1.message_pb2 import Media, Usage

from services.model.adapters import refusal
from services.model.adapters.counts import count, member, usage_of
from services.model.adapters.http1.connections import JSON, Form
from services.model.adapters.multipart import File
from services.model.adapters.specialists.request import Asked, Member, asked, missing, unsupported
from services.model.adapters.specialists.stream import ended
from services.model.adapters.sse import EventParser
from services.model.adapters.upstream import Upstream
from services.model.json_text import object_text
from services.model.media.contents import Content
from services.model.media.media_type import Wrong, checked
from services.model.methods import Images

_OWN = frozenset(
    {"prompt", "n", "size", "quality", "background", "output_format", "output_compression", "partial_images"}
    | {"response_format", "user", "stream", "image", "images", "mask"}
)
_TEXTS = ("size", "quality", "background", "output_format", "user")
_DETAILS = ("size", "quality", "background", "output_format")
_SIDES = re.compile(r"(\d{1,5})x(\d{1,5})")
_SVG = re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<svg[\s>]", re.DOTALL)
_LONGEST_URL = 8192
# A picture in base64 as one event, and several as one document.
_LARGEST_EVENT = 24 * 1024 * 1024
_LARGEST_DOCUMENT = 96 * 1024 * 1024


def image_request(
    provider: str,
    method: Images,
    path: str,
    model: str,
    prompt: str,
    options: ImageOptions,
    pictures: Sequence[tuple[str, Content]] = (),
    mask: Content | None = None,
) -> Asked:
    """The request for pictures; with `pictures`, which have the names of their files, for a change of them.

    Raises:
        InvalidArgument: the vendor lacks something that the options ask for; the error names it.
    """
    if pictures and not method.edits:
        raise missing(provider, model, "changes pictures")
    members = [Member(name, getattr(options, name), f"options.{name}") for name in _TEXTS if getattr(options, name)]
    if options.HasField("count"):
        members.append(Member("n", options.count, "options.count"))
    if options.HasField("output_compression"):
        members.append(Member("output_compression", options.output_compression, "options.output_compression"))
    fixed: dict[str, Any] = {"model": model, "prompt": prompt}
    if options.HasField("partial_images"):
        if not method.streams:
            raise unsupported(provider, "options.partial_images")
        fixed["stream"] = True
        if options.partial_images:
            fixed["partial_images"] = options.partial_images
    if any(fnmatchcase(model.lower(), pattern) for pattern in method.bytes_only):
        if options.urls:
            raise unsupported(provider, "options.urls")
    elif options.urls or method.bytes_word:
        fixed["response_format"] = "url" if options.urls else method.bytes_word
    made = asked(
        provider,
        method,
        path,
        fixed,
        members,
        options.provider_params,
        own=_OWN - fixed.keys(),
        drop=options.drop_params,
        within="options.",
    )
    if method.sides:
        _split_size(provider, made.body)
    _attach(method, made, pictures, mask)
    return made


def _split_size(provider: str, body: dict[str, Any]) -> None:
    size = body.pop("size", None)
    if size is None or size == "auto":
        return
    found = _SIDES.fullmatch(size)
    if found is None:
        raise unsupported(provider, "options.size")
    body["width"], body["height"] = int(found[1]), int(found[2])


def _attach(method: Images, made: Asked, pictures: Sequence[tuple[str, Content]], mask: Content | None) -> None:
    if method.form == "json":
        shown = [{"type": "image_url", "url": _data_url(each)} for _, each in pictures]
        if shown:
            made.body |= {"image": shown[0]} if len(shown) == 1 else {"images": shown}
        if mask is not None:
            made.body["mask"] = {"type": "image_url", "url": _data_url(mask)}
        return
    member_name = "image" if len(pictures) == 1 else "image[]"
    for number, (name, each) in enumerate(pictures):
        made.files.append((member_name, _file(name or f"image{number}", each)))
    if mask is not None:
        made.files.append(("mask", _file("mask", mask)))


def _file(name: str, content: Content) -> File:
    ending = content.media_type.partition("/")[2]
    return File(name if "." in name else f"{name}.{ending}", content.media_type, content.data)


def _data_url(content: Content) -> str:
    return f"data:{content.media_type};base64,{content.base64}"


async def drawn(upstream: Upstream, made: Asked) -> AsyncGenerator[GenerateImageResponse, None]:
    """The pictures: one after the other when they are all made, or as they are made if this is asked for.

    Raises:
        MeshError: the vendor failed, or what it sent is no picture.
    """
    streams, path = bool(made.body.get("stream")), made.path
    data, form = made.form() if made.files else (orjson.dumps(made.body), JSON)
    # A request with pictures is large, and the answer may take minutes.
    del made
    pictures = _streamed(upstream, path, [data], form) if streams else _whole(upstream, path, [data], form)
    del data
    async with aclosing(pictures):
        async for event in pictures:
            yield event


async def _whole(
    upstream: Upstream, path: str, sent: list[bytes], form: Form
) -> AsyncGenerator[GenerateImageResponse, None]:
    answer = await upstream.whole(path, sent.pop(), form)
    async for event in _of_document(upstream.name, answer):
        yield event


async def _of_document(provider: str, answer: Any) -> AsyncGenerator[GenerateImageResponse, None]:
    """The pictures of a whole answer."""
    if member(answer, "error"):
        raise refusal.reported_error(provider, answer["error"])
    entries = member(answer, "data")
    if not isinstance(entries, list) or not entries:
        raise refusal.protocol_error(provider, "its answer has no pictures")
    # Each picture is let go when it has been sent.
    entries.reverse()
    total = len(entries)
    for index in range(total):
        yield GenerateImageResponse(image=_picture(provider, entries.pop(), index))
        await asyncio.sleep(0)
    yield _finished(answer, total)


async def _streamed(
    upstream: Upstream, path: str, sent: list[bytes], form: Form
) -> AsyncGenerator[GenerateImageResponse, None]:
    events, reader = EventParser(_LARGEST_EVENT), _Reader(upstream.name)
    document: bytearray | None = None
    begun = False
    async with aclosing(upstream.send(path, sent, form)) as chunks:
        async for chunk in chunks:
            if not begun and (head := chunk.lstrip()):
                begun = True
                document = bytearray() if head[:1] == b"{" else None
            if document is not None:
                document += chunk
                if len(document) > _LARGEST_DOCUMENT:
                    raise refusal.protocol_error(upstream.name, "its answer in one piece is too large")
                continue
            for event in reader.read(events.feed(chunk)):
                yield event
    if document is not None:
        try:
            answer = orjson.loads(document)
        except orjson.JSONDecodeError as error:
            raise refusal.protocol_error(upstream.name, "its answer is not JSON") from error
        async for event in _of_document(upstream.name, answer):
            yield event
        return
    for event in ended(upstream.name, events, reader.read):
        yield event
    yield reader.finished()


class _Reader:
    """Reads the events of pictures, and keeps what the last of them says of all."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._total = 0
        self._facts: dict[str, Any] = {}

    def read(self, events: Sequence[bytes]) -> list[GenerateImageResponse]:
        """The pictures of these events.

        Raises:
            MeshError: an event is an error, or is none.
        """
        return [found for data in events if data != b"[DONE]" and (found := self._read(data)) is not None]

    def finished(self) -> GenerateImageResponse:
        """The end of the pictures.

        Raises:
            Unavailable: there was none.
        """
        if not self._total:
            raise refusal.stream_cut(self._provider)
        return _finished(self._facts, self._total)

    def _read(self, data: bytes) -> GenerateImageResponse | None:
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise refusal.unreadable(self._provider, "an event of its pictures", data) from error
        if member(event, "error"):
            raise refusal.reported_error(self._provider, event["error"])
        kind = str(member(event, "type") or "")
        if kind.endswith(".partial_image"):
            partial = _picture(self._provider, event, self._total)
            partial.partial_index = count(event.get("partial_image_index"))
            return GenerateImageResponse(partial=partial)
        if not kind.endswith(".completed"):
            return None
        picture = GenerateImageResponse(image=_picture(self._provider, event, self._total))
        self._total += 1
        self._facts = {name: event.get(name) for name in (*_DETAILS, "usage")}
        return picture


def _picture(provider: str, given: Any, index: int) -> GeneratedImage:
    """One picture of an answer.

    Raises:
        Unavailable: it is none.
    """
    prompt = member(given, "revised_prompt")
    found = GeneratedImage(index=index, revised_prompt=prompt if isinstance(prompt, str) else "")
    text, url = member(given, "b64_json"), member(given, "url")
    if isinstance(text, str) and text:
        found.image.CopyFrom(_bytes(provider, text))
    elif isinstance(url, str) and url.startswith(("http://", "https://")) and len(url) <= _LONGEST_URL:
        found.image.url = url
    else:
        raise refusal.protocol_error(provider, "its answer has neither bytes nor an address of a picture")
    return found


def _bytes(provider: str, text: str) -> Media:
    try:
        data = binascii.a2b_base64(text.partition(",")[2] if text.startswith("data:") else text)
        media_type = "image/svg+xml" if _SVG.match(data[:4096]) else checked("image", "", data)
    except (binascii.Error, ValueError) as error:
        raise refusal.protocol_error(provider, "its picture is not base64") from error
    except Wrong as error:
        raise refusal.protocol_error(provider, f"its picture {error}") from error
    return Media(data=data, media_type=media_type)


def _finished(answer: Mapping[str, Any], images: int) -> GenerateImageResponse:
    details = {name: answer[name] for name in _DETAILS if isinstance(answer.get(name), str)}
    if isinstance(said := answer.get("usage"), dict):
        details["usage"] = said
    usage = _usage(answer.get("usage"))
    usage.images = images
    return GenerateImageResponse(
        finished=ImagesFinished(media=MediaFinished(usage=usage), details=object_text(details) if details else "")
    )


def _usage(given: Any) -> Usage:
    return usage_of(count(member(given, "input_tokens")), count(member(given, "output_tokens")))
