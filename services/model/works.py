"""Runs what providers make beside texts: transcripts, speeches and pictures. Each goes to the usage ledger."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from time import monotonic
from typing import TypeVar

from soma.mesh.v1.stream_pb2 import Heartbeat
from soma.model.v1.media_service_pb2 import (
    EditImageRequest,
    GenerateImageRequest,
    GenerateImageResponse,
    MediaFinished,
    SpeakRequest,
    SpeakResponse,
    TranscribeRequest,
    TranscribeResponse,
    TranslateRequest,
    TranslateResponse,
)
from soma.model.v1.message_pb2 import Usage
from soma.model.v1.model_service_pb2 import GenerationStarted

from services.mesh.call import errors
from services.mesh.call.principal import Principal
from services.model.catalogue import Route
from services.model.judging import methods_of
from services.model.ledger import Ledger
from services.model.metered import Metered
from services.model.tokens import estimate

E = TypeVar("E", TranscribeResponse, SpeakResponse, GenerateImageResponse)


class Works:
    """Runs them, with the methods of a route's provider.

    A stream begins when the provider has answered, so that its refusal becomes the status of the call. Before that, and
    in silence, come heartbeats. `finished` is sent when the usage record is durable, or waits in memory because the
    store is unavailable.
    """

    def __init__(self, ledger: Ledger, heartbeat: float) -> None:
        self._ledger = ledger
        self._heartbeat = heartbeat

    async def transcribe(
        self, principal: Principal, route: Route, request: TranscribeRequest
    ) -> AsyncGenerator[TranscribeResponse, None]:
        """Write down what is said."""
        methods = methods_of(route, "writes down what is said")
        async with Metered(self._ledger, principal, route, "transcribe") as call:
            events = methods.transcribe(request, route.model.name)
            run = self._run(call, events, _no_event(TranscribeResponse), _transcript_parts)
            async with aclosing(run):
                async for event in run:
                    yield event

    async def translate(self, principal: Principal, route: Route, request: TranslateRequest) -> TranslateResponse:
        """Write down in English what is said."""
        methods = methods_of(route, "writes down in English what is said")
        async with Metered(self._ledger, principal, route, "translate") as call:
            finished, dropped = await methods.translate(request, route.model.name)
            usage = _heard(finished.media.usage, finished.transcript.text)
            seconds = await call.finish(usage)
        started = call.started()
        started.dropped_params.extend(dropped)
        media = MediaFinished(usage=usage, time_to_first_seconds=seconds, duration_seconds=seconds)
        return TranslateResponse(started=started, transcript=finished.transcript, media=media)

    async def speak(
        self, principal: Principal, route: Route, request: SpeakRequest
    ) -> AsyncGenerator[SpeakResponse, None]:
        """Speak a text."""
        methods = methods_of(route, "speaks a text")
        async with Metered(self._ledger, principal, route, "speak") as call:
            # It is counted before it is spoken: a provider is paid for the text, also if the caller leaves.
            tokens = estimate([request.input])
            call.usage = Usage(prompt_tokens=tokens, total_tokens=tokens, characters=len(request.input), estimated=True)
            events = methods.speak(request, route.model.name)
            run = self._run(call, events, _no_event(SpeakResponse), _speech_parts)
            async with aclosing(run):
                async for event in run:
                    yield event

    async def draw(
        self, principal: Principal, route: Route, request: GenerateImageRequest | EditImageRequest
    ) -> AsyncGenerator[GenerateImageResponse, None]:
        """Make pictures, or change them."""
        methods = methods_of(route, "makes pictures")
        async with Metered(self._ledger, principal, route, "draw") as call:
            events = methods.draw(request, route.model.name)
            run = self._run(call, events, _no_event(GenerateImageResponse), _image_parts)
            async with aclosing(run):
                async for event in run:
                    yield event

    async def _run(
        self,
        call: Metered,
        events: AsyncGenerator[E, None],
        silence: E,
        parts: Callable[[E, Usage], tuple[GenerationStarted | None, MediaFinished | None]],
    ) -> AsyncGenerator[E, None]:
        """Complete the events of a provider; `parts` gives the start and the end in an event."""
        first = 0.0
        complete = False
        async with aclosing(_beating(events, self._heartbeat, silence)) as beating:
            async for event in beating:
                started, finished = parts(event, call.usage)
                if started is not None:
                    started.MergeFrom(call.started())
                elif finished is not None:
                    finished.time_to_first_seconds = first
                    finished.duration_seconds = await call.finish(finished.usage, first)
                    complete = True
                elif not first and event is not silence:
                    first = monotonic() - call.began
                yield event
        if not complete:
            raise errors.Internal("a provider ended without its last event")


def _no_event(kind: type[E]) -> E:
    return kind(heartbeat=Heartbeat())


async def _beating(events: AsyncGenerator[E, None], interval: float, silence: E) -> AsyncGenerator[E, None]:
    """The events, with `silence` after each interval without one."""
    waiting: asyncio.Future[E | None] | None = None
    try:
        while True:
            waiting = asyncio.ensure_future(anext(events, None))
            while not (await asyncio.wait((waiting,), timeout=interval))[0]:
                yield silence
            event = waiting.result()
            if event is None:
                return
            yield event
    finally:
        if waiting is not None and not waiting.done():
            waiting.cancel()
            await asyncio.wait((waiting,))
        await events.aclose()


def _transcript_parts(event: TranscribeResponse, usage: Usage) -> tuple[GenerationStarted | None, MediaFinished | None]:
    if event.HasField("started"):
        return event.started, None
    if not event.HasField("finished"):
        return None, None
    media = event.finished.media
    media.usage.CopyFrom(_heard(media.usage, event.finished.transcript.text))
    return None, media


def _heard(usage: Usage, text: str) -> Usage:
    """The usage of a transcript, with an estimate if the provider counts nothing."""
    if not usage.total_tokens and not usage.audio_seconds:
        tokens = estimate([text])
        return Usage(completion_tokens=tokens, total_tokens=tokens, estimated=True)
    return usage


def _speech_parts(event: SpeakResponse, usage: Usage) -> tuple[GenerationStarted | None, MediaFinished | None]:
    if event.HasField("started"):
        return event.started.generation, None
    if not event.HasField("finished"):
        return None, None
    if not event.finished.HasField("usage"):
        event.finished.usage.CopyFrom(usage)
    return None, event.finished


def _image_parts(event: GenerateImageResponse, usage: Usage) -> tuple[GenerationStarted | None, MediaFinished | None]:
    if event.HasField("started"):
        return event.started, None
    if event.HasField("image"):
        # What is made is paid for, whatever comes after it.
        usage.images += 1
    return None, event.finished.media if event.HasField("finished") else None
