"""Postgres with pgvector as a part of the stack: a cluster of its own, on 127.0.0.1, with a password."""

import signal
from pathlib import Path
from urllib.parse import urlencode

import asyncpg
from soma.errors.v1 import reasons

from cli.parts.account import unprivileged
from cli.parts.cluster import check_version, disown, initialise, is_serving
from cli.parts.part import Launch, Located
from cli.parts.port import free_port
from cli.parts.program import POSTGRES, find, version
from cli.parts.refusal import lasts
from services.mesh.call.errors import FailedPrecondition, Unavailable
from services.mesh.process.keys import ensure_key

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
# What a client would otherwise take from PGSSLMODE and its like, or look for in the user's home directory.
CONNECTING = {"sslmode": "disable", "sslnegotiation": "postgres", "target_session_attrs": "any", "gsslib": "gssapi"}


def database_url(folder: Path, port: int | None, database: str = DATABASE) -> str:
    """The URL, with its password, of a database of the cluster under `folder` that listens on `port`.

    It leaves nothing to the environment, which may speak of another Postgres.
    """
    password = ensure_key(folder / "password")
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{database}?{urlencode(CONNECTING)}"


class Postgres(Located):
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
            await initialise(self._program, self._folder, account, USER, self._password)
        check_version(self._data, self._program, self.version)
        disown(self._data)
        if not self._database_exists:
            self.port = free_port()
            self.where = f"127.0.0.1:{self.port}"
        configuration = {**CONFIGURATION, "max_connections": str(self._max_connections)}
        options = [option for name, value in configuration.items() for option in ("-c", f"{name}={value}")]
        return Launch(
            [str(self._program), "-D", str(self._data), "-p", str(self.port), *options],
            bare=True,
            account=account,
            # Immediate shutdown: every process of the cluster ends and gives its shared memory back.
            death_signal=signal.SIGQUIT,
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
            # Before it serves, somebody else may listen on its port.
            if lasts(error) and is_serving(self._data, pid):
                raise FailedPrecondition(
                    f"postgres refuses the connection: {error}; the password it was made with was kept in "
                    f"{self._folder / 'password'}, which must be the one that belongs to {self._data}",
                    reason=reasons.POSTGRES_REFUSED,
                ) from error
            raise Unavailable(f"postgres: {error}") from error

    async def _create_database(self) -> None:
        connection = await asyncpg.connect(database_url(self._folder, self.port, "postgres"), timeout=PROBE_SECONDS)
        try:
            await connection.execute(f'CREATE DATABASE "{DATABASE}"')
        finally:
            await connection.close(timeout=PROBE_SECONDS)
        self._database_exists = True
