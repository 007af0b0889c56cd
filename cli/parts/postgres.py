"""Postgres with pgvector as a part of the stack: a cluster of its own, on 127.0.0.1, with a password."""

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import asyncpg

from cli.parts.account import Account, unprivileged
from cli.parts.part import Launch, Part
from cli.parts.port import free_port
from cli.parts.process import run
from cli.parts.program import POSTGRES, find, version
from services.mesh.errors import FailedPrecondition, Unavailable
from services.mesh.keys import ensure_key

USER = "soma"
DATABASE = "soma"
PROBE_SECONDS = 3.0
# Small memory, full durability.
CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "effective_cache_size": "256MB",
    "maintenance_work_mem": "32MB",
    "max_wal_size": "256MB",
    "wal_compression": "on",
    "fsync": "on",
    "jit": "off",
    "max_logical_replication_workers": "0",
    "log_line_prefix": "%m [%p] ",
}


def database_url(folder: Path, port: int | None, database: str = DATABASE) -> str:
    """The URL, with its password, of a database of the cluster under `folder` that listens on `port`."""
    return f"postgresql://{USER}:{ensure_key(folder / 'password')}@127.0.0.1:{port}/{database}"


class Postgres(Part):
    """A cluster under `folder/data`; `url` is for the `soma` database in it, which is made when it is missing."""

    # Fast shutdown: connections are ended, what was acknowledged is on disk.
    stop_signal = signal.SIGINT
    grace = 20.0

    def __init__(self, folder: Path, max_connections: int = 60) -> None:
        super().__init__("postgres")
        self._max_connections = max_connections
        self._folder = folder
        self._data = folder / "data"
        self._password = ensure_key(folder / "password")
        self._program: Path | None = None
        self._database_exists = False

    @property
    def url(self) -> str:
        """Where the database is, with its password; of use once the part is ready."""
        return database_url(self._folder, self.port)

    async def launch(self) -> Launch:
        """Make the cluster if there is none yet; a port is kept once the database in it was reached."""
        if self._program is None:
            self._program = find(POSTGRES)
            self.version = await version(self._program)
        account = unprivileged([self._program, self._data])
        if not self._data.exists():
            await self._initialise(self._program, account)
        self._check_version()
        if not self._database_exists:
            self.port = free_port()
            self.where = f"127.0.0.1:{self.port}"
        configuration = {**CONFIGURATION, "max_connections": str(self._max_connections)}
        options = [option for name, value in configuration.items() for option in ("-c", f"{name}={value}")]
        return Launch(
            [str(self._program), "-D", str(self._data), "-p", str(self.port), *options],
            account=account,
            # Immediate shutdown: every process of the cluster ends and gives its shared memory back.
            death_signal=signal.SIGQUIT,
        )

    async def _initialise(self, program: Path, account: Account | None) -> None:
        """Make the cluster beside its place and move it there when it is whole."""
        new, password = self._folder / "new", self._folder / "new.password"
        # What an interrupted attempt left.
        await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
        password.unlink(missing_ok=True)
        new.mkdir(mode=0o700)
        with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self._password)
        if account is not None:
            os.chown(new, account.uid, account.gid)
            os.chown(password, account.uid, account.gid)
        command = [str(program.with_name("initdb")), "-D", str(new), "-U", USER, f"--pwfile={password}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if sys.platform == "linux":
            command.append("--sync-method=syncfs")
        status, output = await run(Launch(command, account=account))
        password.unlink()
        if status != 0:
            raise FailedPrecondition(f"initdb failed: {output.strip()[-2000:]}", reason="POSTGRES_INIT_FAILED")
        new.rename(self._data)

    def _check_version(self) -> None:
        made_by = (self._data / "PG_VERSION").read_text().strip()
        if self.version is not None and self.version.split(".")[0] != made_by:
            raise FailedPrecondition(
                f"{self._data} was made by Postgres {made_by} and {self._program} is {self.version}; "
                f"put Postgres {made_by} on PATH, or move the data with pg_dump",
                reason="POSTGRES_VERSION_MISMATCH",
            )

    async def probe(self, pid: int | None) -> None:
        """A real connection to the database."""
        try:
            connection = await asyncpg.connect(self.url, timeout=PROBE_SECONDS)
            await connection.close(timeout=PROBE_SECONDS)
            self._database_exists = True
        except asyncpg.InvalidCatalogNameError:
            await self._create_database()
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Unavailable(f"postgres: {error}") from error

    async def _create_database(self) -> None:
        connection = await asyncpg.connect(database_url(self._folder, self.port, "postgres"), timeout=PROBE_SECONDS)
        try:
            await connection.execute(f'CREATE DATABASE "{DATABASE}"')
        finally:
            await connection.close(timeout=PROBE_SECONDS)
        self._database_exists = True
