"""Health follows from the checks, and a check that does not answer delays nothing else."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from services.mesh.process import health as module
from services.mesh.process.health import Health
from services.mesh.process.jobs import run_job


class Dependency:
    """A dependency that answers, fails or hangs, and ignores a cancellation."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0

    async def check(self) -> None:
        self.asked += 1
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure


def watching(dependency: Dependency) -> Health:
    return Health({"memory": {"postgres": dependency.check}})


async def test_a_failing_dependency_is_named_until_it_works_again() -> None:
    dependency = Dependency()
    health, told = watching(dependency), []
    health.watch(lambda: told.append(health.faults()))
    await health.check()
    assert health.faults() == {}
    dependency.failure = LookupError("it is away")
    await health.check()
    assert health.faults() == {"memory": "postgres: it is away"}
    dependency.failure = None
    await health.check()
    assert health.dependencies() == {"memory": {"postgres": ""}}
    assert told == [{"memory": "postgres: it is away"}, {}]


async def test_a_check_that_failed_at_the_start_is_repeated_as_soon_as_one_that_fails_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_EVERY_SECONDS", 600.0)
    monkeypatch.setattr(module, "_AFTER_FAULT_SECONDS", 0.01)
    dependency = Dependency()
    dependency.failure = LookupError("it is not loaded yet")
    health, well = watching(dependency), asyncio.Event()
    await health.check()
    health.watch(well.set)
    dependency.failure = None
    async with AsyncExitStack() as stack:
        run_job(stack, "mesh", health.job)
        async with asyncio.timeout(10):
            await well.wait()
    assert health.faults() == {}


async def test_a_check_without_an_answer_counts_as_failed_and_is_not_repeated_before_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_CHECK_SECONDS", 0.02)
    dependency = Dependency()
    health = watching(dependency)
    dependency.answers.clear()
    for _ in range(3):
        async with asyncio.timeout(15):
            await health.check()
        assert health.faults() == {"memory": "postgres: no answer within 0.02 s"}
    assert dependency.asked == 1
    dependency.answers.set()
    await health.check()
    assert health.faults() == {}


async def test_a_failing_optional_dependency_is_named_and_is_not_a_fault() -> None:
    postgres, redis = Dependency(), Dependency()
    health = Health({"orchestrator": {"postgres": postgres.check}}, {"orchestrator": {"redis": redis.check}})
    told: list[dict[str, dict[str, str]]] = []
    health.watch(lambda: told.append(health.dependencies()))
    redis.failure = LookupError("it is away")
    await health.check()
    assert health.faults() == {}
    postgres.failure = LookupError("it is full")
    await health.check()
    assert health.faults() == {"orchestrator": "postgres: it is full"}
    assert told == [
        {"orchestrator": {"postgres": "", "redis": "it is away"}},
        {"orchestrator": {"postgres": "it is full", "redis": "it is away"}},
    ]


async def test_a_check_of_several_services_is_made_once() -> None:
    redis = Dependency()
    health = Health(
        {"edge": {}, "orchestrator": {}}, {"edge": {"redis": redis.check}, "orchestrator": {"redis": redis.check}}
    )
    await health.check()
    assert redis.asked == 1
