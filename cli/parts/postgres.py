"""Postgres with pgvector as a part of the stack: its own cluster, on 127.0.0.1, with a password."""

import signal
from pathlib import Path
from urllib.parse import urlencode

import asyncpg
from soma.errors.v1 import reasons

from cli.parts.account import unprivileged
from cli.parts.cluster import check_version, initialise, is_serving, take_over_lock
from cli.parts.part import Launch, Located
from cli.parts.permanence import is_permanent
from cli.parts.port import free_port
from cli.parts.program import POSTGRES, find, version
from services.mesh.call.errors import FailedPrecondition, Unavailable
from services.mesh.process.keys import ensure_key

USER = "soma"
DATABASE = "soma"
PROBE_SECONDS = 3.0
# Little memory, full durability.
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
# Options that a client would otherwise take from PGSSLMODE and similar variables, or from the user's home directory.
CONNECTING = {"sslmode": "disable", "sslnegotiation": "postgres", "target_session_attrs": "any", "gsslib": "gssapi"}


def database_url(folder: Path, port: int | None, database: str = DATABASE) -> str:
    """The URL, with the password, of a database in the cluster under `folder` on `port`.

    It sets all options, so that no variable of the environment for another Postgres applies.
    """
    password = ensure_key(folder / "password")
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{database}?{urlencode(CONNECTING)}"


class Postgres(Located):
    """A cluster in `folder/data`. `url` is that of its database `soma`, which is made if it is missing."""

    # Fast shutdown: it ends connections and keeps all acknowledged data.
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
        """The URL of the database, with the password; valid when the part is ready."""
        return database_url(self._folder, self.port)

    async def launch(self) -> Launch:
        """Make the cluster if there is none. The port stays the same after the database was reached once."""
        if self._program is None:
            self._program = find(POSTGRES)
            self.version = await version(self._program)
        account = unprivileged([self._program, self._data])
        if not self._data.exists():
            await initialise(self._program, self._folder, account, USER, self._password)
        check_version(self._data, self._program, self.version)
        take_over_lock(self._data)
        if not self._database_exists:
            self.port = free_port()
            self.where = f"127.0.0.1:{self.port}"
        configuration = {**CONFIGURATION, "max_connections": str(self._max_connections)}
        options = [option for name, value in configuration.items() for option in ("-c", f"{name}={value}")]
        return Launch(
            [str(self._program), "-D", str(self._data), "-p", str(self.port), *options],
            bare=True,
            account=account,
            # Immediate shutdown: every process of the cluster ends and releases its shared memory.
            death_signal=signal.SIGQUIT,
        )

    async def probe(self, pid: int | None) -> None:
        """Connect to the database, and make it if it is missing."""
        try:
            connection = await asyncpg.connect(self.url, timeout=PROBE_SECONDS)
            await connection.close(timeout=PROBE_SECONDS)
            self._database_exists = True
        except asyncpg.InvalidCatalogNameError:
            await self._create_database()
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # Until it serves, another process may listen on its port.
            if is_permanent(error) and is_serving(self._data, pid):
                raise FailedPrecondition(
                    f"postgres refuses the connection: {error}; the password in "
                    f"{self._folder / 'password'} must be the one that {self._data} was made with",
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
