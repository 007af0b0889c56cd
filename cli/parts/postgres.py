"""Postgres with pgvector as a part of the stack: its own cluster, on 127.0.0.1, with passwords.

It has three roles. `soma` made the cluster and owns everything in it; migrations, backups and people use it. The
services use the other two, which own nothing, so that row-level security binds them.
"""

import signal
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
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
# The roles of services, each with the setting of its URL and the file of its password.
ROLES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "soma_app": ("postgres_url", "app.password"),
        "soma_system": ("postgres_system_url", "system.password"),
    }
)
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
    return _url(USER, ensure_key(folder / "password"), port, database)


def settings(folder: Path, port: int | None) -> Mapping[str, str]:
    """The URLs of the three roles for the database in the cluster under `folder`, by the names of their settings."""
    services = {
        setting: _url(role, ensure_key(folder / file), port, DATABASE) for role, (setting, file) in ROLES.items()
    }
    return {**services, "postgres_owner_url": database_url(folder, port)}


def _url(user: str, password: str, port: int | None, database: str) -> str:
    return f"postgresql://{user}:{password}@127.0.0.1:{port}/{database}?{urlencode(CONNECTING)}"


class Postgres(Located):
    """A cluster in `folder/data`. `url` is its owner's of its database `soma`, which is made if it is missing."""

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
        self._roles_exist = False

    @property
    def url(self) -> str:
        """The URL of the database, with the password; valid when the part is ready."""
        return database_url(self._folder, self.port)

    @property
    def settings(self) -> Mapping[str, str]:
        """The URLs of the three roles."""
        return settings(self._folder, self.port)

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
        """Connect to the database; make it and the roles if they are missing."""
        try:
            connection = await asyncpg.connect(self.url, timeout=PROBE_SECONDS)
            try:
                if not self._roles_exist:
                    await self._make_roles(connection)
            finally:
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

    async def _make_roles(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Make the roles of services, with the passwords in their files."""
        known = {row[0] for row in await connection.fetch("SELECT rolname::text FROM pg_roles")}
        for role, (_, file) in ROLES.items():
            do = "ALTER" if role in known else "CREATE"
            # A password of `ensure_key` has no character that would have to be escaped.
            await connection.execute(f"{do} ROLE {role} LOGIN PASSWORD '{ensure_key(self._folder / file)}'")
        self._roles_exist = True

    async def _create_database(self) -> None:
        connection = await asyncpg.connect(database_url(self._folder, self.port, "postgres"), timeout=PROBE_SECONDS)
        try:
            await self._make_roles(connection)
            await connection.execute(f'CREATE DATABASE "{DATABASE}"')
        finally:
            await connection.close(timeout=PROBE_SECONDS)
        self._database_exists = True
