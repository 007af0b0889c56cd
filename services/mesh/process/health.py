"""Whether each service of a process can work now, found by running its checks."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import structlog

from services.mesh.process.jobs import Job

if TYPE_CHECKING:
    from services.mesh.process.registry.membership import Membership
    from services.mesh.transport.server import Server

log = structlog.get_logger("health")

Check: TypeAlias = Callable[[], Awaitable[None]]
"""Returns when a dependency works, and raises when it does not."""
Checks: TypeAlias = Mapping[str, Mapping[str, Check]]
"""The checks of services, by the name of the service and of the dependency."""

_EVERY_SECONDS = 2.0
_AFTER_FAULT_SECONDS = 0.5
_CHECK_SECONDS = 1.5


class Health:
    """The state of a process's services; `faults` holds a reason for each one that cannot work.

    Args:
        needed: the checks without which a service cannot work; every service of the process is named.
        wanted: the checks of what a service works without. Their failures are no faults: `dependencies` has them.
    """

    def __init__(self, needed: Checks, wanted: Checks | None = None) -> None:
        self._needed = needed
        wants = wanted or {}
        self._checks = {name: {**checks, **wants.get(name, {})} for name, checks in needed.items()}
        self._results: dict[str, dict[str, str]] = {name: {} for name in self._checks}
        self._listeners: list[Callable[[], None]] = []
        self._underway: dict[Check, asyncio.Task[None]] = {}
        self._draining = False

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` when a check begins to fail or to pass."""
        self._listeners.append(changed)

    def drain(self) -> None:
        """From now on no service serves."""
        self._draining = True
        self._notify()

    def faults(self) -> dict[str, str]:
        """The reason for each service that cannot work; empty when all can."""
        if self._draining:
            return dict.fromkeys(self._checks, "draining")
        faults = {}
        for name, results in self._results.items():
            needed = {dependency: why for dependency, why in results.items() if dependency in self._needed[name]}
            if needed:
                faults[name] = described(needed)
        return faults

    def dependencies(self) -> dict[str, dict[str, str]]:
        """For each service what is wrong with each dependency, also with those it only wants; "" if nothing is."""
        return {
            name: {dependency: self._results[name].get(dependency, "") for dependency in checks}
            for name, checks in self._checks.items()
        }

    async def check(self) -> None:
        """Run every check once; a check that several services share runs once for all of them."""
        before = self._results
        unique = {check for checks in self._checks.values() for check in checks.values()}
        outcomes = dict(zip(unique, await asyncio.gather(*map(self._run, unique)), strict=True))
        self._results = {}
        for name, checks in self._checks.items():
            faults = {dependency: outcomes[check] for dependency, check in checks.items()}
            self._results[name] = {dependency: why for dependency, why in faults.items() if why}
        if self._results != before:
            log.warning("health changed", faults=self.faults(), dependencies=self.dependencies())
            self._notify()

    @property
    def job(self) -> Job:
        """Repeats the checks, more often while one fails. The first run was made before the job begins."""
        return Job("health", self.check, every=self._interval, first=self._interval())

    def _interval(self) -> float:
        return _AFTER_FAULT_SECONDS if any(self._results.values()) else _EVERY_SECONDS

    async def _run(self, check: Check) -> str:
        """Why a check fails; "" if it passes. A check that has not answered is not started again: it may answer later.

        It is not cancelled either, because a cancelled call to a dependency that hangs may hang as well.
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

    def _notify(self) -> None:
        for listener in self._listeners:
            listener()


class HealthPublisher:
    """Reports changes of health to the gRPC health service and the registry.

    Args:
        health: of the services.
        server: whose health service answers for `names`.
        names: full names of the proto services, by service.
        membership: of the process in the registry.
    """

    def __init__(
        self, health: Health, server: "Server", names: Mapping[str, Iterable[str]], membership: "Membership"
    ) -> None:
        self._health = health
        self._server = server
        self._membership = membership
        self._names = names
        self._publishing: set[asyncio.Task[None]] = set()

    async def publish(self) -> None:
        """Set the state of each proto service."""
        faults = self._health.faults()
        await self._server.set_health(
            {full: name not in faults for name, fulls in self._names.items() for full in fulls}
        )

    def changed(self) -> None:
        """Report a change, without waiting for it."""
        self._membership.health_changed()
        task = asyncio.create_task(self.publish())
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)


def described(dependencies: Mapping[str, str]) -> str:
    """Each failing dependency by name, in one line; "" when none fails."""
    return "; ".join(f"{name}: {why}" for name, why in dependencies.items() if why)


def alive_body(version: str) -> dict[str, str]:
    """The body of `/health`, also at the gateway; `timestamp` is the current time in UTC."""
    return {
        "status": "healthy",
        "app_name": "SomaMesh",
        "version": version,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


async def _answer(check: Check) -> None:
    await check()
