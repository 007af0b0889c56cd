"""One response being made, in a task of its own: its caller may leave, and anybody may cancel it."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing, nullcontext

import structlog
from soma.errors.v1 import reasons
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1.response_service_pb2 import CreateResponseRequest, CreateResponseResponse

from services.mesh.call import errors
from services.mesh.call.call import Call, current_call
from services.mesh.call.interceptors.errors import translate
from services.mesh.process import tasks
from services.mesh.process.jobs import Job
from services.orchestrator.responses.response import ResponseBuilder
from services.orchestrator.responses.store import PostgresResponses, ResponseRecord

log = structlog.get_logger("orchestrator")

# Events that wait for a slow caller before the turn is no longer read.
_MOST_WAITING = 256
_LOOK_SECONDS = 1.0


class ResponseTask:
    """Runs a turn and hands out the events of the response it becomes.

    Args:
        request: the input, as it is kept.
        record: where it is kept; None for a response nobody asks for again.
        detached: it is made whether or not anybody reads its events.
        scope: what the turn runs in.
    """

    def __init__(
        self,
        response: ResponseBuilder,
        turn: AsyncGenerator[chat.ChatResponse, None],
        request: CreateResponseRequest,
        record: ResponseRecord | None,
        *,
        detached: bool,
        scope: AbstractContextManager[object] | None = None,
    ) -> None:
        self._response = response
        self._turn = turn
        self._request = request
        self._record = record
        self._detached = detached
        self._scope = scope or nullcontext()
        self._begun = False
        self._sequence = 0
        self._read = True
        self._finished = False
        self._stopped: errors.MeshError | None = None
        self._error: errors.MeshError | None = None
        self._events: deque[CreateResponseResponse] = deque()
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._run())
        # Not in the task itself: one that is cancelled before its first step never enters its body.
        self.task.add_done_callback(self._ended)

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
                if self._finished:
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

    async def _run(self) -> None:
        try:
            with self._scope:
                await self._follow()
        except asyncio.CancelledError:
            why = self._stopped or errors.Cancelled("the caller went away")
            await self._store_end(why, cancelled=isinstance(why, errors.Cancelled))
            if self._stopped is None:
                raise
            if self._begun and isinstance(self._stopped, errors.Cancelled):
                self._events.append(self._numbered(self._response.finished()))
            else:
                self._error = self._stopped
        except Exception as error:
            self._error = translate(current_call() or Call(started=0.0), error)
            if self._error is not None:
                # CANCELLED of a neighbour is a failure of the turn: nobody here cancelled it.
                await self._store_end(self._error, cancelled=False)

    def _ended(self, _: "asyncio.Task[None]") -> None:
        self._finished = True
        self._news.set()

    async def _follow(self) -> None:
        response = self._response
        if self._detached:
            await self._begin()
        async with aclosing(self._turn) as events:
            async for event in events:
                kind = event.WhichOneof("payload")
                if kind == "started":
                    response.started(event.started)
                    if not self._begun:
                        await self._begin()
                elif kind == "finished":
                    for each in response.finish(event.finished):
                        await self._publish(each)
                    if self._record is not None:
                        await self._record.end(response.response)
                    await self._hand_out(self._numbered(response.finished()))
                else:
                    for each in response.take(event):
                        await self._publish(each)

    async def _begin(self) -> None:
        if self._record is not None:
            await self._record.begin(self._request, self._response.response)
        self._begun = True
        await self._publish(self._response.created())

    async def _store_end(self, error: errors.MeshError, *, cancelled: bool) -> None:
        if not self._begun:
            return
        if cancelled:
            self._response.cancel()
        else:
            self._response.fail(error)
        if self._record is None:
            return
        try:
            await self._record.end(self._response.response)
        except errors.MeshError as lost:
            # Whoever asks for it later is told that it was interrupted.
            log.warning("the end of a response is not kept", error=lost.message)

    async def _publish(self, event: CreateResponseResponse) -> None:
        event = self._numbered(event)
        if self._record is not None:
            await self._record.note(event)
        await self._hand_out(event)

    def _numbered(self, event: CreateResponseResponse) -> CreateResponseResponse:
        event.sequence = self._sequence
        self._sequence += 1
        return event

    async def _hand_out(self, event: CreateResponseResponse) -> None:
        while self._read and len(self._events) >= _MOST_WAITING:
            self._room.clear()
            await self._room.wait()
        if self._read:
            self._events.append(event)
            self._news.set()


class ResponseTasks:
    """Makings by the id of their response."""

    def __init__(self, store: PostgresResponses) -> None:
        self._store = store
        self._tasks: dict[str, ResponseTask] = {}

    def add(self, response_id: str, task: ResponseTask) -> None:
        """Watch over a making until it ends."""
        self._tasks[response_id] = task
        task.task.add_done_callback(lambda _: self._tasks.pop(response_id, None))

    def cancel(self, response_id: str) -> None:
        """End a task, if it is here; elsewhere its process finds out by itself."""
        task = self._tasks.get(response_id)
        if task is not None:
            task.stop(errors.Cancelled("the response was cancelled"))

    @property
    def job(self) -> Job:
        """Looks which tasks are still wanted."""
        return Job("responses", self.look, every=_LOOK_SECONDS, longest_pause=_LOOK_SECONDS)

    async def finished(self) -> None:
        """Return once nothing is being made here."""
        while self._tasks:
            await asyncio.wait([task.task for task in self._tasks.values()])

    async def close(self) -> None:
        """End all that is being made here: this process stops."""
        why = errors.Unavailable("the process that made this response stopped", reason=reasons.INTERRUPTED)
        tasks = [task.task for task in self._tasks.values()]
        for task in list(self._tasks.values()):
            task.stop(why)
        if tasks:
            await asyncio.wait(tasks)

    async def look(self) -> None:
        """Look once: say that these live, and end what was cancelled or deleted meanwhile.

        Raises:
            Unavailable: the store cannot be asked; all are made on.
        """
        # One that waits for its first sign has no row yet, and one that ended is not cancelled by that.
        ids = [response_id for response_id, task in self._tasks.items() if task.begun]
        if not ids:
            return
        wanted = await self._store.still_wanted(ids)
        for response_id in ids:
            if response_id not in wanted:
                self.cancel(response_id)
