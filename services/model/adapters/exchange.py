"""Sends a request to a vendor's server and reads its answer, as a stream of events or in one piece."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Protocol, TypeAlias

import structlog
from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import Delta

from services.mesh.call.errors import MeshError
from services.messages.answer import is_text, joined_text
from services.model.adapters import refusal
from services.model.adapters.answer import AnswerReader, Pieces
from services.model.adapters.sse import EventParser
from services.model.provider import ProviderEvent

_log = structlog.get_logger(__name__)

# The path of a request, its body, and headers of its own.
Question: TypeAlias = tuple[str, dict[str, Any], Mapping[str, str]]

# Maximum size of an answer in one piece, in bytes; its text alone may have the maximum length of an answer.
_LARGEST = 32 * 1024 * 1024
# A piece of text with this many characters is not joined with more: what waits for a slow client is counted in pieces.
_LARGE_PIECE = 64 * 1024
# After the end of an answer, wait this many seconds for more events, such as its usage.
_AFTER_END_SECONDS = 2.0
# Reasons of errors of reading what is cut off.
_INCOMPLETE = frozenset({reasons.PROVIDER_PROTOCOL_ERROR, reasons.PROVIDER_STREAM_CUT})


class Source(Protocol):
    """A server that answers requests: `services.model.adapters.upstream.Upstream`, or one with another transport."""

    @property
    def name(self) -> str:
        """The name of the provider."""

    def stream(self, path: str, body: dict[str, Any], headers: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Send a request and yield the answer as it is read; closing the generator ends the request.

        Raises:
            MeshError: every failure of the provider, typed.
        """


async def answered(
    upstream: Source, question: Callable[[], Awaitable[Question]], answer: AnswerReader
) -> AsyncGenerator[ProviderEvent, None]:
    """Send a request and yield the answer as it arrives; `question` makes the request.

    Raises:
        MeshError: the vendor failed, or its answer is incomplete.
    """
    events = EventParser()
    begun = False
    document: bytearray | None = None
    broken: MeshError | None = None
    async with aclosing(upstream.stream(*await question())) as chunks:
        while True:
            try:
                chunk = await (_after_end(chunks, upstream.name) if answer.ended else anext(chunks, b""))
            except MeshError as error:
                # What came may be complete but for the blank line after its last event.
                broken = error
                break
            if not chunk:
                break
            if not begun and (head := chunk.lstrip(b" \t\r\n\xef\xbb\xbf")):
                begun = True
                # A stream of events never begins with one of these bytes.
                document = bytearray() if head[0] in b"{[" else None
            if document is not None:
                document += chunk
                if len(document) > _LARGEST:
                    raise refusal.protocol_error(upstream.name, "its answer in one piece is too large")
                continue
            pieces, failure = _read(events.feed(chunk), answer)
            for event in pieces:
                yield event
            if failure is not None:
                raise failure
    try:
        last = answer.read_whole(bytes(document)) if document is not None else _last(events, answer, upstream.name)
    except MeshError as error:
        if broken is not None and error.reason in _INCOMPLETE:
            raise broken from error
        raise
    if broken is not None and not answer.ended:
        raise broken
    for event in last:
        yield event
    if not answer.ended:
        if answer.begun:
            raise refusal.stream_cut(upstream.name)
        raise refusal.protocol_error(upstream.name, "its answer holds no event")
    held, finished = answer.finished()
    for event in held:
        yield event
    yield finished


async def _after_end(chunks: AsyncGenerator[bytes, None], provider: str) -> bytes:
    """The next bytes after the end of the answer, empty at the end of the stream; an error counts as such an end."""
    try:
        async with asyncio.timeout(_AFTER_END_SECONDS):
            return await anext(chunks, b"")
    except (MeshError, TimeoutError) as error:
        _log.info("provider_end_unclean", provider=provider, problem=str(error) or "silence")
        return b""


def _read(events: Iterable[bytes], answer: AnswerReader) -> tuple[list[Delta], MeshError | None]:
    """The pieces of events that arrived together, and the error that ends the answer after them, if there is one.

    Texts that follow one another become one piece: each piece costs the whole mesh more than it costs here.
    """
    found: list[Delta] = []
    texts: list[Delta] = []
    size = 0
    failure = None
    try:
        for data in events:
            for piece in answer.read(data):
                text = is_text(piece)
                if text:
                    texts.append(piece)
                    size += len(piece.text)
                    if size < _LARGE_PIECE:
                        continue
                if texts:
                    found.append(joined_text(texts))
                    texts, size = [], 0
                if not text:
                    found.append(piece)
    except MeshError as error:
        failure = error
    if texts:
        found.append(joined_text(texts))
    return found, failure


def _last(events: EventParser, answer: AnswerReader, provider: str) -> Pieces:
    """The pieces of a last event that has no blank line after it; the event may be incomplete."""
    found: list[Delta] = []
    for data in events.end():
        try:
            found.extend(answer.read(data))
        except MeshError as error:
            if error.reason != reasons.PROVIDER_PROTOCOL_ERROR or not answer.begun:
                raise
            raise refusal.stream_cut(provider) from error
    return found
