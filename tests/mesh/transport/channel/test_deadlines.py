"""Deadlines of many calls on one timer."""

import asyncio
from time import monotonic

from services.mesh.testing.waiting import until
from services.mesh.transport.local.deadlines import Deadlines


async def test_deadlines_pass_in_the_order_of_their_times() -> None:
    deadlines, passed = Deadlines(asyncio.get_running_loop()), list[str]()
    now = monotonic()
    for name, delay in (("late", 0.06), ("soon", 0.02), ("later", 0.09), ("next", 0.04)):
        deadlines.add(now + delay, lambda name=name: passed.append(name))  # type: ignore[misc]
    await until(lambda: len(passed) == 4)
    assert passed == ["soon", "next", "late", "later"]
    assert 0.088 < monotonic() - now < 5
    assert len(deadlines) == 0


async def test_a_cancelled_deadline_does_not_pass_and_delays_no_other() -> None:
    deadlines, passed = Deadlines(asyncio.get_running_loop()), list[str]()
    now = monotonic()
    first = deadlines.add(now + 0.01, lambda: passed.append("cancelled"))
    deadlines.add(now + 0.02, lambda: passed.append("kept"))
    deadlines.cancel(first)
    deadlines.cancel(first)
    assert len(deadlines) == 1
    await until(lambda: passed == ["kept"])
    assert len(deadlines) == 0


async def test_cancelled_deadlines_do_not_pile_up() -> None:
    deadlines = Deadlines(asyncio.get_running_loop())
    for _ in range(10_000):
        deadlines.cancel(deadlines.add(monotonic() + 60, list[int]().clear))
    assert len(deadlines) == 0
    assert len(deadlines._heap) < 200
    deadlines.close()


async def test_a_deadline_may_cancel_others_when_it_passes() -> None:
    deadlines, passed = Deadlines(asyncio.get_running_loop()), list[str]()
    now = monotonic()
    other = deadlines.add(now + 0.011, lambda: passed.append("other"))

    def first() -> None:
        passed.append("first")
        deadlines.cancel(other)

    deadlines.add(now + 0.01, first)
    deadlines.add(now + 0.05, lambda: passed.append("last"))
    await until(lambda: "last" in passed)
    assert passed == ["first", "last"]
