"""The rules in force: read at start, read again when their file changes, kept when the new file is wrong."""

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

    async def look(self) -> None:
        """`refresh`, as a job's step."""
        self.refresh()

    def refresh(self) -> None:
        """Read the file again if it changed since it was last read."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self.current, self.fault = load(self._path), ""
        except errors.FailedPrecondition as error:
            self.fault = error.message
            log.error("rules not taken, the ones before stay", error=error.message, version=self.current.version)
            return
        log.info("rules taken", version=self.current.version, rules=len(self.current.rules))

    def _stamp(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size
