"""A serve process as a part: it runs some of the services and joins the mesh through the registry."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

from cli.parts.part import Launch, Part
from services.mesh.call.errors import Unavailable
from services.mesh.process.shutdown import REPLACED
from services.mesh.transport.address import split

PROBE_SECONDS = 3.0


class Serve(Part):
    """A process `soma serve SERVICE…`. It is ready when `/ready` of its admin port answers 200.

    Args:
        admin: returns `host:port` of the admin port of the process with a pid; None until it has joined.
        environment: returns its settings, such as the registry and the stores; called at each start.
        grace: seconds for draining: it refuses new calls, ends streams and finishes the accepted calls.
        leave_grace: the same for a process that was replaced, whose calls have more time.
    """

    replaceable = True
    leave_signal = REPLACED

    def __init__(
        self,
        name: str,
        services: Sequence[str],
        *,
        after: Sequence[str],
        outlived_by: Sequence[str],
        admin: Callable[[int], str | None],
        environment: Callable[[], Mapping[str, str]],
        grace: float,
        leave_grace: float,
    ) -> None:
        super().__init__(name, after)
        self.outlived_by = tuple(outlived_by)
        self.grace = grace
        self.leave_grace = leave_grace
        self._services = tuple(services)
        self._admin = admin
        self._environment = environment
        self.version = version("somamesh-server")

    async def launch(self) -> Launch:
        """Start this Python with the same code. Secrets are in the environment."""
        command = [sys.executable, "-P", "-m", "cli.main", "serve", *self._services]
        return Launch(command, env=self._environment())

    async def probe(self, pid: int | None) -> None:
        """Ask its `/ready`."""
        address = self._admin(pid) if pid is not None else None
        if address is None:
            raise Unavailable(f"{self.name} has not joined the registry")
        self.where = ", ".join(self._services)
        self.port = int(address.rpartition(":")[2])
        async with asyncio.timeout(PROBE_SECONDS):
            status, body = await get_status(address, "/ready")
        if status != 200:
            raise Unavailable(f"{self.name} is not ready: {body.strip()[:500]}")


async def get_status(address: str, path: str) -> tuple[int, str]:
    """GET `path` from `host:port`; return the status and the body. The control process needs no HTTP client library.

    Raises:
        Unavailable: the answer is not HTTP.
        OSError: no process listens there.
    """
    reader, writer = await asyncio.open_connection(*split(address))
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.decode(errors="replace").partition("\r\n\r\n")
    words = head.split(maxsplit=2)
    if len(words) < 2 or not words[1].isdigit():
        raise Unavailable(f"{address} does not speak HTTP")
    return int(words[1]), body
