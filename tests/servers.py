"""Postgres and Redis for tests: the stack's own parts, on free ports, with nothing made durable."""

import asyncio
import dataclasses
import os
import shutil
import signal
import tempfile
from pathlib import Path

import asyncpg

from cli.parts.part import Launch, Part
from cli.parts.postgres import USER, Postgres
from cli.parts.process import Process
from cli.parts.redis import Redis
from services.mesh.call import errors
from services.mesh.testing.waiting import until

START_SECONDS = 60.0
# An fsync tells from a power cut, not from a kill; trust saves the 5 ms a password costs each connection.
UNSAFE = ("fsync=off", "full_page_writes=off", "max_connections=100")
TRUST = "host all all 127.0.0.1/32 trust\n"


class _Postgres(Postgres):
    """The part, faster."""

    async def launch(self) -> Launch:
        launch = await super().launch()
        (self._data / "pg_hba.conf").write_text(TRUST)
        options = [part for setting in UNSAFE for part in ("-c", setting)]
        return dataclasses.replace(launch, argv=[*launch.argv, *options])


class Server:
    """A part run without a supervisor: a test stops it and starts it again, on the same port and with the same data."""

    # Seconds to start in, on a machine that runs other tests beside.
    start_seconds = START_SECONDS

    def __init__(self, part: Part, folder: Path) -> None:
        self._part = part
        self._folder = folder
        self._process: Process | None = None

    async def start(self) -> None:
        """Start, and return once it serves."""
        await until(self._attempt, seconds=self.start_seconds)

    async def _attempt(self) -> bool:
        """Whether it came up; after a kill it may end once more, while what it had started is still ending."""
        launch = await self._part.launch()
        assert launch is not None
        output = os.open(os.devnull, os.O_WRONLY)
        try:
            self._process = await Process.start(launch, output)
        finally:
            os.close(output)
        ended = asyncio.create_task(self._process.wait())

        async def settled() -> bool:
            return ended.done() or await self._serves()

        await until(settled, seconds=self.start_seconds, every=0.02)
        # False where it has ended.
        return ended.cancel()

    async def _serves(self) -> bool:
        assert self._process is not None
        try:
            await self._part.probe(self._process.pid)
        except (errors.MeshError, OSError):
            return False
        return True

    async def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop with a signal; SIGKILL is a crash."""
        if self._process is not None:
            await self._process.stop(how, self._part.grace)
            self._process = None

    async def remove(self) -> None:
        """Stop for good and delete the data."""
        await self.stop(signal.SIGKILL)
        await self._part.close()
        shutil.rmtree(self._folder)


class PostgresServer(Server):
    """A cluster; tests have databases of their own in it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(_Postgres(folder), folder)

    def url(self, database: str) -> str:
        """The address of one database."""
        return f"postgresql://{USER}@127.0.0.1:{self._part.port}/{database}"

    async def create_database(self, name: str, template: str = "template1") -> str:
        """Make a database, a copy of `template`; its URL."""
        await self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy', "postgres")
        return self.url(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        await self.execute(f'DROP DATABASE "{name}" WITH (FORCE)', "postgres")

    async def execute(self, statements: str, database: str) -> None:
        """Run statements as the owner of a database."""
        connection = await asyncpg.connect(self.url(database))
        try:
            await connection.execute(statements)
        finally:
            await connection.close()


class RedisServer(Server):
    """A Redis; tests that use it leave it empty."""

    def __init__(self, folder: Path) -> None:
        self._redis = Redis(folder)
        super().__init__(self._redis, folder)

    @property
    def url(self) -> str:
        """The address of the server."""
        return self._redis.url


async def start_postgres() -> PostgresServer:
    """A new cluster, serving."""
    server = PostgresServer(_folder("postgres"))
    await server.start()
    return server


async def start_redis() -> RedisServer:
    """A new, empty Redis, serving."""
    server = RedisServer(_folder("redis"))
    await server.start()
    return server


def _folder(name: str) -> Path:
    path = Path(tempfile.mkdtemp(prefix=f"soma-{name}-"))
    # Postgres runs as another user when the tests run as root.
    path.chmod(0o711)
    return path
