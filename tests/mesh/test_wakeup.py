"""A signal for one task: it wakes, it times out, and its timer serves more than one wait."""

import asyncio
from time import monotonic
from weakref import ref

import pytest

from services.mesh.testing.waiting import until
from services.mesh.wakeup import Wakeup

# Timers of the event loop are rounded to a millisecond.
RESOLUTION = 0.002


async def _waited(wakeup: Wakeup, seconds: float) -> tuple[bool, float]:
    """Whether it was woken, and after how many seconds."""
    begun = monotonic()
    return await wakeup.wait(seconds), monotonic() - begun


async def test_a_task_is_woken_before_its_time() -> None:
    loop = asyncio.get_running_loop()
    wakeup = Wakeup(loop)
    for _ in range(3):
        loop.call_later(0.01, wakeup.wake)
        woken, seconds = await _waited(wakeup, 30.0)
        assert woken
        assert seconds < 10
    wakeup.close()


@pytest.mark.parametrize("earlier", [30.0, 0.02], ids=["longer", "shorter"])
async def test_a_wait_after_one_of_another_length_takes_its_own_time(earlier: float) -> None:
    loop = asyncio.get_running_loop()
    wakeup = Wakeup(loop)
    loop.call_soon(wakeup.wake)
    assert await wakeup.wait(earlier)
    woken, seconds = await _waited(wakeup, 0.1)
    assert not woken
    assert 0.1 - RESOLUTION <= seconds < 10


async def test_a_wait_works_after_one_that_timed_out() -> None:
    wakeup = Wakeup(asyncio.get_running_loop())
    for _ in range(2):
        woken, seconds = await _waited(wakeup, 0.02)
        assert not woken
        assert seconds >= 0.02 - RESOLUTION


async def test_a_timer_that_fires_while_nobody_waits_does_nothing() -> None:
    loop = asyncio.get_running_loop()
    wakeup = Wakeup(loop)
    loop.call_soon(wakeup.wake)
    assert await wakeup.wait(0.02)
    await asyncio.sleep(0.05)
    loop.call_later(0.01, wakeup.wake)
    assert await wakeup.wait(30.0)
    wakeup.close()


async def test_a_cancelled_wait_leaves_a_signal_that_works() -> None:
    loop = asyncio.get_running_loop()
    wakeup = Wakeup(loop)
    waiting = asyncio.create_task(wakeup.wait(0.02))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not await wakeup.wait(0.05)


async def test_a_closed_signal_is_not_kept_by_its_timer() -> None:
    class Held(Wakeup):
        """A signal with weak references."""

    loop = asyncio.get_running_loop()
    wakeup = Held(loop)
    known = ref(wakeup)
    loop.call_soon(wakeup.wake)
    assert await wakeup.wait(30.0)
    wakeup.close()
    del wakeup

    async def freed() -> bool:
        return known() is None

    await until(freed)
