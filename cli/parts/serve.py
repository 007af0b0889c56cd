"""A process of our own that serves some of the mesh's services and joins the others through the registry."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

from cli.parts.http import get_status
from cli.parts.part import Launch, Part
from services.mesh.call.errors import Unavailable
from services.mesh.process.departure import REPLACED

PROBE_SECONDS = 3.0


class Serve(Part):
    """`soma serve SERVICE…`; ready when the `/ready` of its admin port says so.

    Args:
        admin: finds the `host:port` of the admin port of the process with a given pid; None until it has joined.
        environment: settings it gets, such as the registry it joins and what it stores in; asked for when it starts.
        grace: seconds it may take to drain: to refuse new calls, end streams and finish what it accepted.
        leave_grace: the same when another process has taken over, and its calls may take their time.
    """

    replaceable = True
    leave_signal = REPLACED

    def __init__(
        self,
        name: str,
        services: Sequence[str],
        *,
        after: Sequence[str],
        admin: Callable[[int], str | None],
        environment: Callable[[], Mapping[str, str]],
        grace: float,
        leave_grace: float,
    ) -> None:
        super().__init__(name, after)
        self.grace = grace
        self.leave_grace = leave_grace
        self._services = tuple(services)
        self._admin = admin
        self._environment = environment
        self.version = version("somamesh-server")

    async def launch(self) -> Launch:
        """This Python, the same code; secrets travel in the environment."""
        command = [sys.executable, "-P", "-m", "cli.main", "serve", *self._services]
        return Launch(command, env=self._environment())

    async def probe(self, pid: int | None) -> None:
        """Its `/ready`."""
        address = self._admin(pid) if pid is not None else None
        if address is None:
            raise Unavailable(f"{self.name} has not joined the registry")
        self.where = ", ".join(self._services)
        self.port = int(address.rpartition(":")[2])
        async with asyncio.timeout(PROBE_SECONDS):
            status, body = await get_status(address, "/ready")
        if status != 200:
            raise Unavailable(f"{self.name} is not ready: {body.strip()[:500]}")
