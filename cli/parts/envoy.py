"""Envoy as a part of the stack: the one public port."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from cli.parts.part import Launch, Part
from cli.parts.port import require_free
from cli.parts.program import ENVOY, find, version
from services.mesh.call.errors import Unavailable
from services.mesh.transport.address import joined, reached

PROBE_SECONDS = 3.0
LONGEST_STREAM_SECONDS = 24 * 3600


class Envoy(Part):
    """An Envoy that reads its bootstrap from a file and is ready when it listens on a port of an IP address."""

    # It ends in milliseconds on SIGTERM; draining is the control plane's work.
    grace = 5.0

    def __init__(
        self, bootstrap: Path, address: str, port: int, *, after: Sequence[str] = (), workers: int = 1
    ) -> None:
        super().__init__("envoy", after)
        self._bootstrap = bootstrap
        self._address = address
        self._workers = workers
        self.port = port
        self.where = joined(address, port)

    async def launch(self) -> Launch:
        """The public port must be free: a second listener on it would be told nothing and serve nothing."""
        program = find(ENVOY)
        if self.version is None:
            self.version = await version(program)
        assert self.port is not None
        require_free(self._address, self.port)
        flags = ["--disable-hot-restart", "--concurrency", str(self._workers), "--log-level", "warning"]
        # After a change of the listener. Connections are let go with their next answer, but Envoy closes those that are
        # still in the middle of one when the time is over: ten minutes, unless told otherwise.
        drain = ["--drain-strategy", "immediate", "--drain-time-s", str(LONGEST_STREAM_SECONDS)]
        return Launch([str(program), "-c", str(self._bootstrap), *flags, *drain], bare=True)

    async def probe(self, pid: int | None) -> None:
        """Its listener answers, which it does from its first complete configuration on."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                _, writer = await asyncio.open_connection(reached(self._address), self.port)
        except TimeoutError as error:
            raise Unavailable(f"envoy does not answer on {self.where}") from error
        writer.close()
