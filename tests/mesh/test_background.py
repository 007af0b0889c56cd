"""Work in the background goes on whatever it meets, and ends when it is told to."""

import asyncio
from contextlib import AsyncExitStack

from structlog.testing import capture_logs

from services.mesh.background import in_background


class Work:
    """Raises each of `failures` once, and then runs on."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.well = asyncio.Event()

    async def run(self) -> None:
        if self._failures:
            raise self._failures.pop(0)
        self.well.set()
        await asyncio.Event().wait()


async def test_work_that_fails_is_begun_again() -> None:
    work = Work(OSError(28, "No space left on device"), RuntimeError("odd"))
    async with AsyncExitStack() as stack, asyncio.timeout(10):
        in_background(stack, work.run)
        await work.well.wait()


async def test_the_same_failure_is_logged_once_and_another_one_too() -> None:
    work = Work(OSError("full"), OSError("full"), ValueError("odd"))
    with capture_logs() as logs:
        async with AsyncExitStack() as stack, asyncio.timeout(10):
            in_background(stack, work.run)
            await work.well.wait()
    assert [(line["work"], str(line["exc_info"])) for line in logs] == [("Work.run", "full"), ("Work.run", "odd")]


async def test_work_that_returns_is_not_begun_again() -> None:
    begun: list[int] = []

    async def once() -> None:
        begun.append(1)

    async with AsyncExitStack() as stack:
        await in_background(stack, once)
    assert begun == [1]


async def test_what_fails_while_it_is_ended_is_not_begun_again() -> None:
    begun = asyncio.Event()

    async def clumsy() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("cannot say goodbye")

    async with asyncio.timeout(10):
        async with AsyncExitStack() as stack:
            in_background(stack, clumsy)
            await begun.wait()
