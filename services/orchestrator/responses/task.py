"""The tasks that make responses: one for each response, so that its caller may leave and any process may cancel it."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing

from soma.errors.v1 import reasons
from soma.orchestrator.v1.response_service_pb2 import CreateResponseResponse

from services.mesh.call import errors
from services.mesh.call.call import Call, current_call
from services.mesh.call.interceptors.errors import translate
from services.mesh.process import tasks
from services.mesh.process.jobs import Job
from services.orchestrator.responses.draft import Draft, Source
from services.orchestrator.responses.store import PostgresResponses

# With so many events or bytes waiting for a slow caller, the task stops reading the turn.
_MOST_WAITING = 256
_MOST_BYTES = 256 * 1024
_LOOK_SECONDS = 1.0


class ResponseTask:
    """Makes one response.

    Args:
        source: what it is made from; it is open while the response is made.
        detached: whether the task goes on when nobody reads its events.
    """

    def __init__(self, draft: Draft, source: AbstractAsyncContextManager[Source], *, detached: bool) -> None:
        self._draft = draft
        self._source = source
        self._detached = detached
        self._read = True
        self._finished = False
        self._stopped: errors.MeshError | None = None
        self._error: errors.MeshError | None = None
        # With their sizes.
        self._events: deque[tuple[CreateResponseResponse, int]] = deque()
        self._bytes = 0
        self._more, self._room = asyncio.Event(), asyncio.Event()
        self.work = asyncio.create_task(self._run())
        # A callback, because a task that is cancelled before its first step never enters its coroutine.
        self.work.add_done_callback(self._ended)

    async def events(self) -> AsyncGenerator[CreateResponseResponse, None]:
        """The events of the response up to `finished`; a reader who leaves ends the task, unless it is detached.

        Raises:
            MeshError: the turn failed.
        """
        try:
            while True:
                while self._events:
                    event, size = self._events.popleft()
                    self._bytes -= size
                    yield event
                    self._room.set()
                if self._finished:
                    break
                self._more.clear()
                await self._more.wait()
            if self._error is not None:
                try:
                    raise self._error
                finally:
                    # Its traceback has frames that refer to this object.
                    self._error = None
        finally:
            self._read = False
            self._room.set()
            if not self._detached:
                await tasks.end(self.work)

    @property
    def begun(self) -> bool:
        """Whether the response has begun; if it is stored, its record exists then."""
        return self._draft.begun

    def stop(self, why: errors.MeshError) -> None:
        """End the task; the response is then cancelled if `why` is Cancelled, and otherwise failed."""
        if self._stopped is None and not self.work.done():
            self._stopped = why
            self.work.cancel()

    async def _run(self) -> None:
        try:
            # The source is open here, and not in the events: it may end this task, wherever the task waits.
            async with self._source as source, aclosing(self._draft.events(source)) as events:
                async for event in events:
                    await self._hand_out(event)
        except asyncio.CancelledError:
            why = self._stopped or errors.Cancelled("the caller went away")
            await self._draft.store_end(why, cancelled=isinstance(why, errors.Cancelled))
            if self._stopped is None:
                # Not raised: nobody awaits it, and with its traceback the task would keep the whole response in memory
                # until the garbage collector finds the cycle.
                return
            if self._draft.begun and isinstance(self._stopped, errors.Cancelled):
                self._put(self._draft.cancelled())
            else:
                self._error = self._stopped
        except Exception as error:
            self._error = translate(current_call() or Call(started=0.0), error)
            if self._error is not None:
                # When a neighbour says CANCELLED, the turn failed: nobody here cancelled it.
                await self._draft.store_end(self._error, cancelled=False)

    def _ended(self, _: "asyncio.Task[None]") -> None:
        self._finished = True
        self._more.set()

    async def _hand_out(self, event: CreateResponseResponse) -> None:
        while self._read and (len(self._events) >= _MOST_WAITING or self._bytes >= _MOST_BYTES):
            self._room.clear()
            await self._room.wait()
        if self._read:
            self._put(event)

    def _put(self, event: CreateResponseResponse) -> None:
        size = event.ByteSize()
        self._events.append((event, size))
        self._bytes += size
        self._more.set()


class ResponseTasks:
    """The tasks of this process that make stored responses, by the tenant and the id of the response."""

    def __init__(self, store: PostgresResponses) -> None:
        self._store = store
        self._tasks: dict[tuple[str, str], ResponseTask] = {}

    def add(self, tenant_id: str, response_id: str, task: ResponseTask) -> None:
        """Add a task; it is removed when it ends."""
        self._tasks[tenant_id, response_id] = task
        task.work.add_done_callback(lambda _: self._tasks.pop((tenant_id, response_id), None))

    def cancel(self, tenant_id: str, response_id: str) -> None:
        """End the task of a response, if it is in this process; other processes find out by their job."""
        task = self._tasks.get((tenant_id, response_id))
        if task is not None:
            task.stop(errors.Cancelled("the response was cancelled"))

    @property
    def job(self) -> Job:
        """Calls `look` once a second."""
        return Job("responses", self.look, every=_LOOK_SECONDS, longest_pause=_LOOK_SECONDS)

    async def finished(self) -> None:
        """Return once this process makes no more responses."""
        while self._tasks:
            await asyncio.wait([task.work for task in self._tasks.values()])

    async def close(self) -> None:
        """End all tasks, because this process stops."""
        why = errors.Unavailable("the process that made this response stopped", reason=reasons.INTERRUPTED)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.stop(why)
        if tasks:
            await asyncio.wait([task.work for task in tasks])

    async def look(self) -> None:
        """Mark the responses of this process as alive, and end those that were cancelled or deleted.

        Raises:
            Unavailable: Postgres cannot be reached; all tasks go on.
        """
        # A response that has not begun has no row yet, so a missing row says nothing about it.
        ids = [place for place, task in self._tasks.items() if task.begun]
        if not ids:
            return
        wanted = await self._store.still_wanted(ids)
        for tenant_id, response_id in ids:
            if (tenant_id, response_id) not in wanted:
                self.cancel(tenant_id, response_id)
