"""Parts somebody else runs, given by URL: only asked whether they serve."""

import asyncio
from urllib.parse import urlsplit

import asyncpg

from cli.parts.part import Part
from cli.parts.resp import ping
from services.mesh.errors import Unavailable

PROBE_SECONDS = 3.0


class External(Part):
    """A part at a URL."""

    external = True
    patience = 15.0

    def __init__(self, name: str, url: str) -> None:
        super().__init__(name)
        self.url = url
        target = urlsplit(url)
        hosts = target.netloc.rpartition("@")[2]
        # A URL of Postgres may name several hosts.
        self.port = None if "," in hosts else target.port
        self.where = f"{target.scheme}://{hosts}{target.path}"


class ExternalPostgres(External):
    """A Postgres by URL."""

    async def probe(self, pid: int | None) -> None:
        """A real connection."""
        try:
            connection = await asyncpg.connect(self.url, timeout=PROBE_SECONDS)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Unavailable(f"the Postgres of postgres_url: {error}") from error
        version = connection.get_server_version()
        self.version = f"{version.major}.{version.minor}"
        await connection.close(timeout=PROBE_SECONDS)


class ExternalRedis(External):
    """A Redis by URL."""

    async def probe(self, pid: int | None) -> None:
        """PING."""
        async with asyncio.timeout(PROBE_SECONDS):
            await ping(self.url)
