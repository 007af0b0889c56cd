"""Jobs run when they are due, continue after every exception, and end when their stack closes."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from itertools import pairwise
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.mesh.call.call import current_call, run_as
from services.mesh.call.errors import Unavailable
from services.mesh.process.jobs import Job, run_job
from services.mesh.testing.jobs import running
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase


class Work:
    """A step that raises each of `failures` once, and then succeeds; `more` steps say that there is more to do."""

    def __init__(self, *failures: BaseException, more: int = 0) -> None:
        self.failures = list(failures)
        self._more = more
        self.steps = 0
        self.well = asyncio.Event()

    async def step(self) -> bool:
        self.steps += 1
        if self.failures:
            raise self.failures.pop(0)
        self.well.set()
        self._more -= 1
        return self._more >= 0

    async def stepped(self, times: int) -> None:
        """Wait until the step has run this number of times."""

        async def reached() -> bool:
            return self.steps >= times

        await until(reached)


async def test_a_step_that_fails_is_run_again() -> None:
    work = Work(OSError(28, "No space left on device"), RuntimeError("odd"))
    async with running(Job("work", work.step, every=60.0)):
        await work.stepped(3)
        assert work.well.is_set()


async def test_the_same_failure_is_logged_once_and_another_one_too() -> None:
    work = Work(OSError("full"), OSError("full"), ValueError("odd"))
    with capture_logs() as logs:
        async with running(Job("work", work.step, every=60.0)):
            await work.stepped(4)
    assert [(line["service"], line["job"], str(line["exc_info"])) for line in logs] == [
        ("test", "work", "full"),
        ("test", "work", "odd"),
    ]


async def test_a_failure_is_logged_again_when_it_comes_back_after_a_success() -> None:
    work = Work(OSError("full"))
    with capture_logs() as logs:
        async with running(Job("work", work.step, every=0.001)):
            await work.stepped(2)
            work.failures.append(OSError("full"))
            await work.stepped(work.steps + 3)
    assert len(logs) == 2


async def test_an_unavailable_dependency_is_logged_with_its_reason_and_without_a_traceback() -> None:
    work = Work(Unavailable("the cache is away", reason="REDIS_UNAVAILABLE"))
    with capture_logs() as logs:
        async with running(Job("work", work.step, every=60.0)):
            await work.stepped(2)
    (line,) = logs
    assert (line["log_level"], line["job"], line["reason"], line["error"]) == (
        "warning",
        "work",
        "REDIS_UNAVAILABLE",
        "the cache is away",
    )
    assert "exc_info" not in line


async def test_a_step_that_awaits_something_cancelled_does_not_end_the_job() -> None:
    work = Work(asyncio.CancelledError())
    async with running(Job("work", work.step, every=60.0)):
        await work.stepped(2)


async def test_the_pause_after_failures_has_a_maximum() -> None:
    work = Work(*(OSError("full") for _ in range(50)))
    # With the default maximum, the first seven pauses alone would take longer than this test waits.
    async with running(Job("work", work.step, every=60.0, longest_pause=0.01)):
        await work.stepped(51)


async def test_a_step_that_fails_while_it_is_ended_is_not_run_again() -> None:
    begun = asyncio.Event()
    times: list[int] = []

    async def clumsy() -> None:
        times.append(1)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("cannot say goodbye")

    async with asyncio.timeout(10):
        async with running(Job("work", clumsy)):
            await begun.wait()
    assert times == [1]


async def test_a_step_that_swallows_its_cancellation_ends_its_job_all_the_same() -> None:
    begun, runs = asyncio.Event(), 0

    async def step() -> None:
        nonlocal runs
        runs += 1
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async with asyncio.timeout(15):
        async with running(Job("deaf", step, wake=asyncio.Event())):
            await begun.wait()
    assert runs == 1


async def test_a_job_has_ended_when_its_stack_is_closed() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(lambda: None)
            ended.set()

    async with asyncio.timeout(10), running(Job("work", slow_to_end)):
        await begun.wait()
    assert ended.is_set()


async def test_a_job_on_a_wake_runs_at_its_start_and_once_for_several_wakes_together() -> None:
    work, wake = Work(), asyncio.Event()
    async with running(Job("work", work.step, wake=wake, gather=0.05)):
        await work.stepped(1)
        for _ in range(10):
            wake.set()
            await asyncio.sleep(0)
        await work.stepped(2)
        wake.set()
        await work.stepped(3)
    assert work.steps == 3


async def test_steps_that_wakes_bring_begin_apart_from_each_other() -> None:
    begun: list[float] = []
    wake = asyncio.Event()

    async def step() -> None:
        begun.append(monotonic())
        wake.set()

    async def three() -> bool:
        return len(begun) >= 3

    async with running(Job("work", step, wake=wake, apart=0.2)):
        await until(three)
    # Timers of the event loop are rounded to a millisecond.
    assert all(later - earlier >= 0.199 for earlier, later in pairwise(begun))


async def test_a_single_wake_does_not_wait_for_the_time_that_steps_are_apart() -> None:
    work, wake = Work(), asyncio.Event()
    async with running(Job("work", work.step, wake=wake, apart=0.3)):
        await work.stepped(1)
        await asyncio.sleep(0.35)
        woken = monotonic()
        wake.set()
        await work.stepped(2)
    assert monotonic() - woken < 0.2


async def test_a_wake_that_comes_during_a_step_is_not_missed() -> None:
    wake, steps = asyncio.Event(), Work()

    async def step() -> None:
        if steps.steps == 0:
            wake.set()
        await steps.step()

    async with running(Job("work", step, wake=wake)):
        await steps.stepped(2)


async def test_a_job_on_a_wake_with_an_interval_also_runs_by_itself() -> None:
    work = Work()
    async with running(Job("work", work.step, wake=asyncio.Event(), every=0.01)):
        await work.stepped(3)


async def test_a_step_with_more_to_do_is_run_again_at_once() -> None:
    work = Work(more=20)
    async with running(Job("work", work.step, every=60.0)):
        await work.stepped(21)


async def test_an_interval_is_measured_between_starts_and_may_change() -> None:
    work, asked = Work(), [60.0, 0.0, 0.0]

    async def waits() -> bool:
        return not asked

    async with running(Job("work", work.step, every=lambda: asked.pop())):
        await work.stepped(3)
        await until(waits)
    assert work.steps == 3


async def test_a_job_that_follows_runs_again_as_soon_as_its_step_returns() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    found: list[int] = []

    async def read() -> None:
        found.append(await queue.get())

    async def all_found() -> bool:
        return len(found) == 5

    async with running(Job("follow", read)):
        for number in range(5):
            queue.put_nowait(number)
        await until(all_found)
    assert found == list(range(5))


async def test_a_job_may_have_a_delay_before_its_first_step() -> None:
    now, later = Work(), Work()
    async with running(Job("later", later.step, every=0.001, first=60.0), Job("now", now.step, every=0.001)):
        await now.stepped(20)
    assert later.steps == 0


async def test_a_job_does_not_belong_to_the_call_that_starts_it() -> None:
    seen: list[object] = []

    async def look() -> None:
        seen.append(current_call())

    async def looked() -> bool:
        return bool(seen)

    with run_as(SOMEBODY):
        async with running(Job("work", look, every=60.0)):
            await until(looked)
    assert seen == [None]


async def test_steps_failures_and_the_last_success_are_measured_by_name() -> None:
    def sample(name: str) -> float:
        return REGISTRY.get_sample_value(name, {"service": "test", "name": "measured"}) or 0.0

    work = Work(OSError("full"))
    async with running(Job("measured", work.step, every=60.0)):
        await work.stepped(1)
        assert sample("soma_job_last_success_timestamp_seconds") == 0.0
        await work.stepped(2)
        await asyncio.sleep(0)
    assert sample("soma_job_seconds_count") == 2
    assert sample("soma_job_failures_total") == 1
    assert sample("soma_job_last_success_timestamp_seconds") > 1.7e9


async def test_an_exclusive_job_is_refused_without_a_database_for_its_lease() -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(ValueError, match="work of test is to be alone"):
            run_job(stack, "test", Job("work", Work().step, alone=True))


async def test_of_two_exclusive_jobs_the_second_runs_once_the_first_has_ended(database: "OwnedDatabase") -> None:
    first, second = Work(), Work()
    async with running(Job("sweep", second.step, every=0.001, first=0.2, alone=True), pool=database.system):
        async with running(Job("sweep", first.step, every=0.001, alone=True), pool=database.system):
            await first.stepped(200)
            assert second.steps == 0
        ended = first.steps
        await second.stepped(3)
    assert first.steps == ended


async def test_an_exclusive_job_begins_once_postgres_is_available(
    database: "OwnedDatabase", postgres_server: PostgresServer
) -> None:
    await postgres_server.stop()
    work = Work()
    with capture_logs() as logs:
        async with running(Job("sweep", work.step, every=60.0, alone=True), pool=database.system):
            await until(lambda: _said(logs, "POSTGRES_UNAVAILABLE"))
            assert work.steps == 0
            await postgres_server.start()
            await work.stepped(1)


async def _said(logs: Sequence[Mapping[str, object]], reason: str) -> bool:
    return any(line.get("reason") == reason for line in logs)
