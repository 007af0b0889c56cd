"""Runs the work that is nobody's call: one loop for all of it, with waits, retries, metrics and logs.

A job is one step that is run again and again:

- on a wake: `Job("index", step, wake=event)`; with `every` too, at the latest after so many seconds;
- at an interval: `Job("sweep", step, every=60.0)`;
- following something: `Job("follow", step)`, whose step waits by itself for what there is to do.

A step that returns something true has not done all there is, and is run again at once. No exception ends a job: the
step is run again, after a wait that grows.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from contextvars import Context
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter, Gauge, Histogram

from services.mesh.call.errors import MeshError
from services.mesh.process import tasks
from services.mesh.process.backoff import Backoff
from services.mesh.stores import lease

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Pool

log = structlog.get_logger("job")

Step = Callable[[], Awaitable[object]]

# Waits are made longer or shorter by up to this share: those who failed together do not come back together.
_JITTER = 0.25
_LABELS = ("service", "name")
_SECONDS = Histogram(
    "soma_job_seconds",
    "Time a step of a job took, whether it failed or not; one that follows something waits within its step",
    _LABELS,
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60),
)
_FAILURES = Counter("soma_job_failures_total", "Steps of a job that failed", _LABELS)
_LAST_SUCCESS = Gauge("soma_job_last_success_timestamp_seconds", "When a step of a job last succeeded", _LABELS)


@dataclass(frozen=True)
class Job:
    """One piece of work, repeated for as long as its service runs.

    Attributes:
        name: what it is called in metrics and logs, beside its service.
        step: does the work once; something true when there is more to do at once.
        wake: set when there is something to do; cleared before each step.
        every: seconds from the beginning of a step to that of the next, or what says how many.
        first: seconds before the first step.
        gather: seconds between a wake and the step, so that what comes within them shares the step.
        longest_pause: the longest wait after a failure, in seconds, give or take a quarter; it begins at 0.2 s.
        alone: only one process of all runs it, by a lease in Postgres. A step has to bear that a process which was
            frozen in the middle of it ends it while another has begun.
    """

    name: str
    step: Step
    wake: asyncio.Event | None = None
    every: float | Callable[[], float] | None = None
    first: float = 0.0
    gather: float = 0.0
    longest_pause: float = 5.0
    alone: bool = False


def run_jobs(stack: AsyncExitStack, service: str, jobs: Iterable[Job], pool: "Pool | None" = None) -> None:
    """Run the jobs of a service until `stack` closes; see `run_job`."""
    for job in jobs:
        run_job(stack, service, job, pool)


def run_job(stack: AsyncExitStack, service: str, job: Job, pool: "Pool | None" = None) -> "asyncio.Task[None]":
    """Run a job until `stack` closes, which cancels it and waits until its step has ended.

    It runs in a context of its own: it is nobody's call.

    Args:
        service: whose it is, in metrics and logs.
        pool: where the lease of a job is kept that is to be alone.

    Raises:
        ValueError: the job is to be alone, and there is no pool.
    """
    if job.alone and pool is None:
        raise ValueError(f"the job {job.name} of {service} is to be alone, which takes a pool of Postgres")
    name = f"{service}.{job.name}"
    held = lease.Lease(pool, name, lease.SECONDS) if job.alone and pool is not None else None
    task = asyncio.create_task(_Runner(service, job, held).run(), name=f"job {name}", context=Context())
    stack.push_async_callback(tasks.end, task)
    return task


class _Runner:
    """The one loop; of a job that is to be alone, it runs while `held` is."""

    def __init__(self, service: str, job: Job, held: lease.Lease | None) -> None:
        self._job = job
        self._lease = held
        self._log = log.bind(service=service, job=job.name)
        self._seconds = _SECONDS.labels(service, job.name)
        self._failures = _FAILURES.labels(service, job.name)
        self._last_success = _LAST_SUCCESS.labels(service, job.name)
        self._backoff = Backoff()
        self._told = ""

    async def run(self) -> None:
        """Run until cancelled."""
        await asyncio.sleep(self._job.first)
        if self._lease is None:
            await self._repeat()
            return
        while True:
            began = monotonic()
            try:
                await self._lease.hold(self._repeat)
            except (Exception, asyncio.CancelledError) as error:
                await self._failed(error, monotonic() - began)
            else:
                await asyncio.sleep(_jittered(self._lease.pause))

    async def _repeat(self) -> None:
        while True:
            if self._job.wake is not None:
                self._job.wake.clear()
            began = monotonic()
            try:
                more = await self._run_step(began)
            except (Exception, asyncio.CancelledError) as error:
                self._failures.inc()
                await self._failed(error, monotonic() - began)
                continue
            if _cancelled():
                # The client of a store can swallow a cancellation that comes together with the answer it waits for.
                raise asyncio.CancelledError
            self._backoff = Backoff()
            self._last_success.set_to_current_time()
            if more:
                # A step that never waits keeps nobody else from running.
                await asyncio.sleep(0)
            else:
                await self._until_due(began)

    async def _run_step(self, began: float) -> object:
        if self._lease is not None and not self._lease.held:
            # This process was frozen, and another may have begun: the lease's keeper is about to cancel this.
            await asyncio.get_running_loop().create_future()
        try:
            return await self._job.step()
        finally:
            self._seconds.observe(monotonic() - began)

    async def _until_due(self, began: float) -> None:
        wake, every = self._job.wake, self._job.every
        seconds = every() if callable(every) else every
        left = None if seconds is None else max(0.0, began + seconds - monotonic())
        if wake is None:
            await asyncio.sleep(left or 0.0)
            return
        # Not wait_for: in Python 3.11 it can swallow a cancellation that comes together with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await wake.wait()
            await asyncio.sleep(self._job.gather)

    async def _failed(self, error: BaseException, lasted: float) -> None:
        """Say why, unless that was just said, and wait; what a job meets while it is ended is nobody's business."""
        if _cancelled():
            raise asyncio.CancelledError from error
        self._backoff = self._backoff.failed(lasted)
        pause = _jittered(min(self._backoff.delay, self._job.longest_pause))
        why = f"{type(error).__name__}: {error}"
        if self._backoff.failures > 1 and why == self._told:
            pass
        elif isinstance(error, MeshError):
            self._log.warning("job waits", reason=error.reason, error=error.message)
        else:
            self._log.error("job failed, tried again", error=why, exc_info=error)
        self._told = why
        await asyncio.sleep(pause)


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)
