"""How tasks are ended."""

import asyncio
from contextlib import suppress

import pytest

from services.mesh.process import tasks


async def test_a_caller_that_is_cancelled_still_waits_until_the_task_has_ended() -> None:
    closing, closed = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            closing.set()
            await closed.wait()

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    owner = asyncio.create_task(tasks.end(working))
    await closing.wait()
    for _ in range(3):
        owner.cancel()
        await asyncio.sleep(0)
        assert not owner.done()
    closed.set()
    with pytest.raises(asyncio.CancelledError):
        await owner
    assert working.cancelled()


async def test_ending_tasks_that_have_ended_or_failed_raises_nothing() -> None:
    async def fail() -> None:
        raise ValueError

    failed = asyncio.create_task(fail())
    with suppress(ValueError):
        await failed
    waiting = asyncio.create_task(asyncio.Event().wait())
    await tasks.end(failed, waiting)
    assert waiting.cancelled()
