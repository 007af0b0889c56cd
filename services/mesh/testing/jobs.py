"""Runs jobs beside a test."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from services.mesh.process.jobs import Job, run_jobs

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Pool


@asynccontextmanager
async def running(*jobs: Job, pool: "Pool | None" = None) -> AsyncIterator[None]:
    """Run jobs for the block; those that are to be alone have their leases in `pool`."""
    async with AsyncExitStack() as stack:
        run_jobs(stack, "test", jobs, pool)
        yield
