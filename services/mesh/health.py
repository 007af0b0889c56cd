"""Whether each service of a process can work now, found by running its checks."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from services.mesh.service import Check, Service

log = structlog.get_logger("health")

_EVERY_SECONDS = 2.0
_AFTER_FAULT_SECONDS = 0.5
_CHECK_SECONDS = 1.5


class Health:
    """The state of a process's services; `faults` holds a reason for each one that cannot work."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._checks: dict[str, Mapping[str, Check]] = {s.name: s.checks for s in services}
        self._results: dict[str, dict[str, str]] = {name: {} for name in self._checks}
        self._listeners: list[Callable[[], None]] = []
        self._underway: dict[int, asyncio.Task[None]] = {}
        self._draining = False

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` when a service starts or stops working."""
        self._listeners.append(changed)

    def drain(self) -> None:
        """From now on nothing serves."""
        self._draining = True
        self._tell()

    def faults(self) -> dict[str, str]:
        """Why each service that cannot work cannot; empty when all is well."""
        if self._draining:
            return dict.fromkeys(self._checks, "draining")
        return {
            name: "; ".join(f"{dependency}: {why}" for dependency, why in results.items())
            for name, results in self._results.items()
            if results
        }

    def dependencies(self) -> dict[str, dict[str, str]]:
        """For each service each dependency's state, `ok` or what is wrong."""
        return {
            name: {dependency: self._results[name].get(dependency, "ok") for dependency in checks}
            for name, checks in self._checks.items()
        }

    async def check(self) -> None:
        """Run every check once; the same check of several services runs once for all."""
        before = self.faults()
        unique = {id(check): check for checks in self._checks.values() for check in checks.values()}
        outcomes = dict(zip(unique, await asyncio.gather(*map(self._run, unique.values())), strict=True))
        for name, checks in self._checks.items():
            faults = {dependency: outcomes[id(check)] for dependency, check in checks.items()}
            self._results[name] = {dependency: why for dependency, why in faults.items() if why}
        after = self.faults()
        if after != before:
            log.warning("health changed", faults=after)
            self._tell()

    async def run(self) -> None:
        """Check for ever: often while something is wrong."""
        while True:
            await asyncio.sleep(_AFTER_FAULT_SECONDS if self.faults() else _EVERY_SECONDS)
            await self.check()

    async def _run(self, check: Check) -> str:
        """Why a check fails, or nothing. One that is silent is not asked twice: its answer counts at a later look.

        It is not cancelled either, because a cancelled call to a dependency that hangs may hang itself.
        """
        task = self._underway.get(id(check))
        if task is None:
            task = self._underway[id(check)] = asyncio.create_task(_answer(check))
        done, _ = await asyncio.wait({task}, timeout=_CHECK_SECONDS)
        if not done:
            return f"no answer within {_CHECK_SECONDS:g} s"
        del self._underway[id(check)]
        error = task.exception()
        return "" if error is None else str(error) or type(error).__name__

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


async def _answer(check: Check) -> None:
    await check()
