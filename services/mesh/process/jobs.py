"""Runs background work: one loop for all of it, with waits, retries, metrics and logs.

A job is one step that is run again and again:

- on a wake: `Job("index", step, wake=event)`; with `every` also after that many seconds without a wake;
- at an interval: `Job("sweep", step, every=60.0)`;
- following something: `Job("follow", step)`, whose step waits by itself for work.

A step that returns something true has more work and is run again at once. No exception ends a job: the step is run
again, after a wait that grows.
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
from services.mesh.process import lease, tasks
from services.mesh.process.backoff import Backoff

if TYPE_CHECKING:
    from services.mesh.stores.postgres import SystemPool

log = structlog.get_logger("job")

Step = Callable[[], Awaitable[object]]

# Waits are made longer or shorter by up to this share, so that jobs that failed together do not retry together.
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
        name: of the job in metrics and logs, beside that of its service.
        step: does the work once; returns something true if there is more to do at once.
        wake: set when there is work; cleared before each step.
        every: seconds from the beginning of one step to the beginning of the next, or a function that gives them.
        first: seconds before the first step.
        gather: seconds between a wake and the step, so that further work of these seconds shares the step.
        apart: the fewest seconds from the beginning of one step to that of the next that a wake brings. A single wake
            waits for `gather` alone; while wakes come without end, the steps are fewer and larger.
        longest_pause: the longest wait after a failure, in seconds, plus or minus a quarter; the first is 0.2 s.
        alone: whether only one of all processes runs it, by a lease in Postgres. A process that was frozen during a
            step may end that step while another process has begun one: the step has to allow for this.
    """

    name: str
    step: Step
    wake: asyncio.Event | None = None
    every: float | Callable[[], float] | None = None
    first: float = 0.0
    gather: float = 0.0
    apart: float = 0.0
    longest_pause: float = 5.0
    alone: bool = False


def run_jobs(stack: AsyncExitStack, service: str, jobs: Iterable[Job], pool: "SystemPool | None" = None) -> None:
    """Run the jobs of a service until `stack` closes, each as `run_job` does."""
    for job in jobs:
        run_job(stack, service, job, pool)


def run_job(stack: AsyncExitStack, service: str, job: Job, pool: "SystemPool | None" = None) -> "asyncio.Task[None]":
    """Run a job until `stack` closes, which cancels the job and waits until its step has ended.

    The job runs in an empty context, because it belongs to no call.

    Args:
        service: the name of the job's service, for metrics and logs.
        pool: where the lease of a job that is `alone` is kept.

    Raises:
        ValueError: the job is `alone`, and there is no pool.
    """
    if job.alone and pool is None:
        raise ValueError(f"the job {job.name} of {service} is to be alone, which takes a pool of Postgres")
    name = f"{service}.{job.name}"
    held = lease.Lease(pool, name, lease.SECONDS) if job.alone and pool is not None else None
    task = asyncio.create_task(_Runner(service, job, held).run(), name=f"job {name}", context=Context())
    stack.push_async_callback(tasks.end, task)
    return task


class _Runner:
    """The loop of a job; for a job that is `alone`, it runs while the lease `held` is held."""

    def __init__(self, service: str, job: Job, held: lease.Lease | None) -> None:
        self._job = job
        self._lease = held
        self._log = log.bind(service=service, job=job.name)
        self._seconds = _SECONDS.labels(service, job.name)
        self._failures = _FAILURES.labels(service, job.name)
        self._last_success = _LAST_SUCCESS.labels(service, job.name)
        self._backoff = Backoff()
        self._logged = ""

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
            if tasks.being_cancelled():
                # A store's client can lose a cancellation that comes together with the answer that it waits for.
                raise asyncio.CancelledError
            self._backoff = Backoff()
            self._last_success.set_to_current_time()
            if more:
                # A step that never waits would not let other tasks run.
                await asyncio.sleep(0)
            else:
                await self._until_due(began)

    async def _run_step(self, began: float) -> object:
        if self._lease is not None and not self._lease.held:
            # This process was frozen, and another one may have begun: the lease is about to cancel this job.
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
        # wait_for would not do: in Python 3.11 it can lose a cancellation that comes together with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await wake.wait()
            await asyncio.sleep(max(self._job.gather, began + self._job.apart - monotonic()))

    async def _failed(self, error: BaseException, lasted: float) -> None:
        """Log the error, unless it was just logged, and wait; errors of a job that is cancelled are not logged."""
        if tasks.being_cancelled():
            raise asyncio.CancelledError from error
        self._backoff = self._backoff.failed(lasted)
        pause = _jittered(min(self._backoff.delay, self._job.longest_pause))
        why = f"{type(error).__name__}: {error}"
        if self._backoff.failures > 1 and why == self._logged:
            pass
        elif isinstance(error, MeshError):
            self._log.warning("job waits", reason=error.reason, error=error.message)
        else:
            self._log.error("job failed, tried again", error=why, exc_info=error)
        self._logged = why
        await asyncio.sleep(pause)


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)
