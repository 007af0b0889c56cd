"""Envoy as a part of the stack; it has the public port."""

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
    """An Envoy that reads its bootstrap from a file. It is ready when it listens on its address and port."""

    # It ends within milliseconds on SIGTERM, because the control plane has drained it before.
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
        """Check that the public port is free; if it is not, Envoy would serve nothing and not report it."""
        program = find(ENVOY)
        if self.version is None:
            self.version = await version(program)
        assert self.port is not None
        require_free(self._address, self.port)
        flags = ["--disable-hot-restart", "--concurrency", str(self._workers), "--log-level", "warning"]
        # After a change of the listener, each connection is closed after its current answer. When the drain time is
        # over, Envoy also closes connections in the middle of an answer. Its default is ten minutes.
        drain = ["--drain-strategy", "immediate", "--drain-time-s", str(LONGEST_STREAM_SECONDS)]
        return Launch([str(program), "-c", str(self._bootstrap), *flags, *drain], bare=True)

    async def probe(self, pid: int | None) -> None:
        """Connect to the listener; it exists from the first complete configuration on."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                _, writer = await asyncio.open_connection(reached(self._address), self.port)
        except TimeoutError as error:
            raise Unavailable(f"envoy does not answer on {self.where}") from error
        writer.close()
