"""The current rules: read at the start and after each change of their file.

If a new file is wrong, the old rules stay.
"""

from pathlib import Path

import structlog

from services.mesh.call import errors
from services.policy.rulefile import load
from services.policy.rules import RuleSet

log = structlog.get_logger("policy")


class WatchedRules:
    """Holds the current `RuleSet`; the first load must succeed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()
        self.current: RuleSet = load(path)
        self.fault = ""

    async def step(self) -> None:
        """Run `refresh` as the step of a job."""
        self.refresh()

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self.current, self.fault = load(self._path), ""
        except errors.FailedPrecondition as error:
            self.fault = error.message
            log.error("new rules refused, the old ones stay", error=error.message, version=self.current.version)
            return
        log.info("rules loaded", version=self.current.version, rules=len(self.current.rules))

    def _stamp(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size
