"""A part that runs a few lines of Python, for rules that hold for every part."""

import sys
from collections.abc import Sequence
from pathlib import Path

from cli.parts.part import Launch, Part
from services.mesh.call.errors import Unavailable

ENDS_WHEN_ASKED = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"
REFUSES_TO_END = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"


class Script(Part):
    """Runs a script. It is ready when the script has made its file, which each start removes."""

    def __init__(self, name: str, folder: Path, script: str = ENDS_WHEN_ASKED, after: Sequence[str] = ()) -> None:
        super().__init__(name, after)
        self.ready_file = folder / f"{name}.ready"
        self._script = f"{script}\nopen({str(self.ready_file)!r}, 'w').close()\nsignal.pause()"
        self.closed = False

    async def launch(self) -> Launch:
        self.ready_file.unlink(missing_ok=True)
        return Launch([sys.executable, "-I", "-S", "-c", self._script])

    async def probe(self, pid: int | None) -> None:
        if not self.ready_file.exists():
            raise Unavailable(f"{self.name} has not made its file")

    async def close(self) -> None:
        self.closed = True


class Exiting(Part):
    """Prints a reason and ends."""

    async def launch(self) -> Launch:
        return Launch([sys.executable, "-I", "-S", "-c", "print('the disk is on fire'); raise SystemExit(7)"])

    async def probe(self, pid: int | None) -> None:
        raise Unavailable(f"{self.name} is never ready")
