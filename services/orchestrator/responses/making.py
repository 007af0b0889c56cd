"""One response being made, in a task of its own: its caller may leave, and anybody may cancel it."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import Protocol

import structlog
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1.response_service_pb2 import CreateResponseRequest, CreateResponseResponse, Response

from services.mesh.call import errors
from services.mesh.call.call import Call, current_call
from services.mesh.call.interceptors.errors import translate
from services.mesh.process import tasks
from services.orchestrator.responses.progress import Progress

log = structlog.get_logger("orchestrator")

# Events that wait for a slow caller before the turn is no longer read.
_FULL = 256


class Keeping(Protocol):
    """Where one response is kept, if it is."""

    async def begin(self, asked: CreateResponseRequest, response: Response) -> None:
        """It is being made."""

    async def note(self, event: CreateResponseResponse) -> None:
        """This happened to it, between its beginning and its end."""

    async def end(self, response: Response) -> None:
        """It ended; `response` then has the state that was kept."""


class Making:
    """Runs a turn and hands out the events of the response it becomes.

    Args:
        asked: the input, as it is kept.
        detached: it is made whether or not anybody reads its events.
        scope: what the turn runs in.
    """

    def __init__(
        self,
        progress: Progress,
        turn: AsyncGenerator[chat.ChatResponse, None],
        asked: CreateResponseRequest,
        keeping: Keeping,
        *,
        detached: bool,
        scope: AbstractContextManager[object] | None = None,
    ) -> None:
        self._progress = progress
        self._turn = turn
        self._asked = asked
        self._keeping = keeping
        self._detached = detached
        self._scope = scope or nullcontext()
        self._begun = False
        self._sequence = 0
        self._read = True
        self._over = False
        self._stopped: errors.MeshError | None = None
        self._error: errors.MeshError | None = None
        self._events: deque[CreateResponseResponse] = deque()
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._make())
        # Not in the task itself: one that is cancelled before its first step never enters its body.
        self.task.add_done_callback(self._end)

    async def events(self) -> AsyncGenerator[CreateResponseResponse, None]:
        """What happens, down to `finished`; leaving ends the work, unless it is detached.

        Raises:
            MeshError: the turn failed.
        """
        try:
            while True:
                while self._events:
                    yield self._events.popleft()
                    self._room.set()
                if self._over:
                    break
                self._news.clear()
                await self._news.wait()
            if self._error is not None:
                raise self._error
        finally:
            self._read = False
            self._room.set()
            if not self._detached:
                await tasks.end(self.task)

    @property
    def begun(self) -> bool:
        """Whether the response is kept by now, if it is kept at all."""
        return self._begun

    def stop(self, why: errors.MeshError) -> None:
        """End the work: as failed, or as cancelled where `why` is Cancelled."""
        if self._stopped is None and not self.task.done():
            self._stopped = why
            self.task.cancel()

    async def _make(self) -> None:
        try:
            with self._scope:
                await self._follow()
        except asyncio.CancelledError:
            why = self._stopped or errors.Cancelled("the caller went away")
            await self._ended_by(why, cancelled=isinstance(why, errors.Cancelled))
            if self._stopped is None:
                raise
            if self._begun and isinstance(self._stopped, errors.Cancelled):
                self._events.append(self._numbered(self._progress.finished()))
            else:
                self._error = self._stopped
        except Exception as error:
            self._error = translate(current_call() or Call(started=0.0), error)
            if self._error is not None:
                # CANCELLED of a neighbour is a failure of the turn: nobody here cancelled it.
                await self._ended_by(self._error, cancelled=False)

    def _end(self, _: "asyncio.Task[None]") -> None:
        self._over = True
        self._news.set()

    async def _follow(self) -> None:
        progress = self._progress
        if self._detached:
            await self._begin()
        async with aclosing(self._turn) as events:
            async for event in events:
                kind = event.WhichOneof("payload")
                if kind == "started":
                    progress.started(event.started)
                    if not self._begun:
                        await self._begin()
                elif kind == "finished":
                    for each in progress.finish(event.finished):
                        await self._put(each)
                    await self._keeping.end(progress.response)
                    await self._tell(self._numbered(progress.finished()))
                else:
                    for each in progress.take(event):
                        await self._put(each)

    async def _begin(self) -> None:
        await self._keeping.begin(self._asked, self._progress.response)
        self._begun = True
        await self._put(self._progress.created())

    async def _ended_by(self, error: errors.MeshError, *, cancelled: bool) -> None:
        if not self._begun:
            return
        if cancelled:
            self._progress.cancel()
        else:
            self._progress.fail(error)
        try:
            await self._keeping.end(self._progress.response)
        except errors.MeshError as lost:
            # Whoever asks for it later is told that it was interrupted.
            log.warning("the end of a response is not kept", error=lost.message)

    async def _put(self, event: CreateResponseResponse) -> None:
        await self._keeping.note(self._numbered(event))
        await self._tell(event)

    def _numbered(self, event: CreateResponseResponse) -> CreateResponseResponse:
        event.sequence = self._sequence
        self._sequence += 1
        return event

    async def _tell(self, event: CreateResponseResponse) -> None:
        while self._read and len(self._events) >= _FULL:
            self._room.clear()
            await self._room.wait()
        if self._read:
            self._events.append(event)
            self._news.set()
