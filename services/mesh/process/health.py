"""Whether each service of a process can work now, found by running its checks."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import structlog

from services.mesh.process.jobs import Job
from services.mesh.service import Check, Service

log = structlog.get_logger("health")

_EVERY_SECONDS = 2.0
_AFTER_FAULT_SECONDS = 0.5
_CHECK_SECONDS = 1.5


class Health:
    """The state of a process's services; `faults` holds a reason for each one that cannot work.

    What a service only wants is no fault: it is among the `dependencies`.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._needed: dict[str, Mapping[str, Check]] = {name: s.checks for name, s in services.items()}
        self._checks: dict[str, Mapping[str, Check]] = {name: {**s.checks, **s.wants} for name, s in services.items()}
        self._results: dict[str, dict[str, str]] = {name: {} for name in self._checks}
        self._listeners: list[Callable[[], None]] = []
        self._underway: dict[Check, asyncio.Task[None]] = {}
        self._draining = False

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` when a service starts or stops working, in whole or in part."""
        self._listeners.append(changed)

    def drain(self) -> None:
        """From now on nothing serves."""
        self._draining = True
        self._tell()

    def faults(self) -> dict[str, str]:
        """Why each service that cannot work cannot; empty when all is well."""
        if self._draining:
            return dict.fromkeys(self._checks, "draining")
        faults = {}
        for name, results in self._results.items():
            needed = {dependency: why for dependency, why in results.items() if dependency in self._needed[name]}
            if needed:
                faults[name] = described(needed)
        return faults

    def dependencies(self) -> dict[str, dict[str, str]]:
        """For each service what is wrong with each dependency, those included that it only wants; empty if nothing."""
        return {
            name: {dependency: self._results[name].get(dependency, "") for dependency in checks}
            for name, checks in self._checks.items()
        }

    async def check(self) -> None:
        """Run every check once; the same check of several services runs once for all."""
        before = self._results
        unique = {check for checks in self._checks.values() for check in checks.values()}
        outcomes = dict(zip(unique, await asyncio.gather(*map(self._run, unique)), strict=True))
        self._results = {}
        for name, checks in self._checks.items():
            faults = {dependency: outcomes[check] for dependency, check in checks.items()}
            self._results[name] = {dependency: why for dependency, why in faults.items() if why}
        if self._results != before:
            log.warning("health changed", faults=self.faults(), dependencies=self.dependencies())
            self._tell()

    @property
    def job(self) -> Job:
        """The checks that come after the first, which was made before: often while something is wrong."""
        return Job("health", self.check, every=self._interval, first=self._interval())

    def _interval(self) -> float:
        return _AFTER_FAULT_SECONDS if any(self._results.values()) else _EVERY_SECONDS

    async def _run(self, check: Check) -> str:
        """Why a check fails, or nothing. One that is silent is not asked twice: its answer counts at a later look.

        It is not cancelled either, because a cancelled call to a dependency that hangs may hang itself.
        """
        task = self._underway.get(check)
        if task is None:
            task = self._underway[check] = asyncio.create_task(_answer(check))
        done, _ = await asyncio.wait({task}, timeout=_CHECK_SECONDS)
        if not done:
            return f"no answer within {_CHECK_SECONDS:g} s"
        del self._underway[check]
        error = task.exception()
        return "" if error is None else str(error) or type(error).__name__

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def described(dependencies: Mapping[str, str]) -> str:
    """What is wrong, in a line: each dependency that is not well, by name; empty when all are."""
    return "; ".join(f"{name}: {why}" for name, why in dependencies.items() if why)


def alive_body(version: str) -> dict[str, str]:
    """What `/health` says of a process of this version, at the gateway too; `timestamp` is now, in UTC."""
    return {
        "status": "healthy",
        "app_name": "SomaMesh",
        "version": version,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


async def _answer(check: Check) -> None:
    await check()
