"""Runs jobs beside a test, and waits for those of a service under test."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY

from services.mesh.process.jobs import Job, run_jobs
from services.mesh.testing.waiting import until

if TYPE_CHECKING:
    from services.mesh.stores.postgres import SystemPool


@asynccontextmanager
async def running(*jobs: Job, pool: "SystemPool | None" = None) -> AsyncIterator[None]:
    """Run jobs for the block; those that are to be alone have their leases in `pool`."""
    async with AsyncExitStack() as stack:
        run_jobs(stack, "test", jobs, pool)
        yield


async def step_of(service: str, name: str) -> None:
    """Return once a step of a job has succeeded that began after this was called; the job runs in this process once.

    Raises:
        TimeoutError: none did in time.
    """
    # One that is under way now began before, so the one after it is waited for.
    enough = _steps(service, name) + 2

    async def taken() -> bool:
        return _steps(service, name) >= enough

    await until(taken)


def _steps(service: str, name: str) -> float:
    """How many steps of a job have succeeded."""
    labels = {"service": service, "name": name}
    ended = REGISTRY.get_sample_value("soma_job_seconds_count", labels) or 0.0
    return ended - (REGISTRY.get_sample_value("soma_job_failures_total", labels) or 0.0)
