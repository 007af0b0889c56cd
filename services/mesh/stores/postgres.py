"""The Postgres pools of a process, and the typed errors for a server that is lost or refuses.

A process has two: the connections of `TenantPool` see the rows of one tenant, which each use of a connection names,
and those of `SystemPool` are for statements about many tenants. `services.mesh.stores.row_security` has the policies.

Connections have no session state: no session locks, no LISTEN, no temporary tables, no plain SET. So they work behind
a transaction-pooling PgBouncer (1.21 or newer, with `max_prepared_statements`), and a connection that goes back to the
pool needs no round trip to be cleaned.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import asyncpg
import orjson
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.stores import disk
from services.mesh.stores.scope import EVERY_TENANT, EVERY_TENANT_SETTING, TENANT_SETTING, ScopedConnection, scope_of

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

# The deadline of a caller cancels what it waits for here; these limits are for background work and calls without one.
CONNECT_SECONDS = 5.0
ACQUIRE_SECONDS = 10.0
COMMAND_SECONDS = 30.0

RETRY_SECONDS = 1.0

_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    OSError,  # TimeoutError is one
)
_STORAGE_FULL = (
    reasons.STORAGE_FULL,
    "the database's disk is full, so nothing can be stored; make room on the disk of Postgres, and it goes on",
    errors.STORAGE_FULL_SECONDS,
)
# Errors of a server that concern the server itself and not the statement.
_REFUSED: tuple[tuple[type[asyncpg.PostgresError], tuple[str, str, float]], ...] = (
    (asyncpg.DiskFullError, _STORAGE_FULL),
    (
        asyncpg.ReadOnlySQLTransactionError,
        (
            reasons.POSTGRES_READ_ONLY,
            "the database takes no writes now, as a standby does; SOMA_POSTGRES_URL must lead to the primary",
            RETRY_SECONDS,
        ),
    ),
    (
        asyncpg.PostgresIOError,
        (
            reasons.POSTGRES_IO_ERROR,
            "the database cannot read or write its files; the log of Postgres says which and why",
            RETRY_SECONDS,
        ),
    ),
    (
        asyncpg.InsufficientResourcesError,
        (
            reasons.POSTGRES_OUT_OF_RESOURCES,
            "the database has run out of memory or met a limit of its own; the log of Postgres says which",
            RETRY_SECONDS,
        ),
    ),
)
_REFUSALS = tuple(refused[0] for refused in _REFUSED)
# A server whose disk is full answers until it has to write. With this it has to: more rows than fit into 64 kB go
# through a file, which the server deletes again. Statements sent together are one transaction, so the limit is local.
_WRITE = "SET LOCAL work_mem = '64kB'; SELECT count(*) FROM generate_series(1, 4000)"
# Errors of a URL, which do not go away with time.
_MISCONFIGURED = (
    asyncpg.ClientConfigurationError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedObjectError,
)
_CLOSED = re.compile(r"(connection|pool) is clos")
# A server that stops sends a message on idle connections, too. asyncpg then takes them for busy (state 2) until it
# has seen them closed.
_SERVER_STOPS = re.compile(r"another operation \(2\) is in progress")


class TenantPool:
    """Connections whose statements see and write the rows of one tenant.

    `execute` without parameters, which may hold several statements, is the one kind of statement that has no tenant.
    """

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    def connection(self, tenant_id: str) -> AbstractAsyncContextManager["Connection"]:
        """A connection for the block; each statement is a transaction of its own.

        Raises:
            Unavailable: Postgres cannot be reached, or no connection came free in time.
        """
        return _acquired(self._pool, _tenant(tenant_id), once=False)

    @asynccontextmanager
    async def transaction(self, tenant_id: str) -> AsyncIterator["Connection"]:
        """A transaction for the block: committed at its end, rolled back by an exception.

        Raises:
            Unavailable: Postgres cannot be reached, or no connection came free in time.
        """
        async with _acquired(self._pool, _tenant(tenant_id), once=True) as acquired, acquired.transaction():
            yield acquired


class SystemPool:
    """Connections for statements about many tenants: group commits, relays, sweeps, and what has no tenant.

    They have a role of their own, which may do only what `row_security` lists.

    Args:
        scope: of a role that also has the statements of tenants; empty for a role of its own.
    """

    def __init__(self, pool: "Pool", scope: bytes = b"") -> None:
        self._pool = pool
        self._scope = scope

    def connection(self) -> AbstractAsyncContextManager["Connection"]:
        """A connection for the block; each statement is a transaction of its own.

        Raises:
            Unavailable: Postgres cannot be reached, or no connection came free in time.
        """
        return _acquired(self._pool, self._scope, once=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Connection"]:
        """A transaction for the block: committed at its end, rolled back by an exception.

        Raises:
            Unavailable: Postgres cannot be reached, or no connection came free in time.
        """
        async with _acquired(self._pool, self._scope, once=True) as acquired, acquired.transaction():
            yield acquired

    def kept(self) -> "KeptConnection":
        """A connection that one task keeps between statements."""
        return KeptConnection(self._pool, self._scope)


@dataclass(frozen=True)
class Database:
    """The Postgres of a process, as its services use it.

    Attributes:
        tenants: for what one tenant does.
        system: for what the mesh does for many tenants at once.
        owner_url: of the role that owns the tables, for migrations.
        role: the role of `tenants`.
        system_role: the role of `system`; the same one where there is only one.
    """

    tenants: TenantPool
    system: SystemPool
    owner_url: str = field(repr=False)
    role: str
    system_role: str

    @classmethod
    async def open(
        cls,
        url: str,
        stack: AsyncExitStack,
        *,
        system_url: str | None = None,
        owner_url: str | None = None,
        max_size: int = 20,
        application_name: str = "soma",
    ) -> "Database":
        """Open the pools; `stack` closes them.

        Args:
            url: of the role whose statements see one tenant.
            system_url: of the role for statements about many tenants; the role of `url` when left out.
            owner_url: of the role that owns the tables; the role of `url` when left out.
            max_size: connections of the first role, and of the only one. The second one has half as many.

        Raises:
            Unavailable: the server cannot be reached.
            FailedPrecondition: the server does not accept the user, the database or the options of a URL.
        """
        pool = await open_pool(url, max_size=max_size, application_name=application_name)
        stack.push_async_callback(pool.close)
        role = await _role(pool)
        if system_url is None:
            everyone = SystemPool(pool, scope_of(EVERY_TENANT_SETTING, EVERY_TENANT))
            return cls(TenantPool(pool), everyone, owner_url or url, role, role)
        system = await open_pool(
            system_url,
            max_size=system_size(max_size),
            application_name=application_name,
            setting="postgres_system_url",
        )
        stack.push_async_callback(system.close)
        return cls(TenantPool(pool), SystemPool(system), owner_url or url, role, await _role(system))


def system_size(max_size: int) -> int:
    """The connections of the system's role in a process whose other role has this many."""
    # A sweep may hold one while another statement of the same work needs one.
    return max(2, max_size // 2)


async def open_pool(
    url: str, *, max_size: int = 20, application_name: str = "soma", setting: str = "postgres_url"
) -> "Pool":
    """Open a pool of one role; `json` and `jsonb` values are Python objects.

    When the server was away, the next acquire connects again by itself.

    Args:
        setting: the setting of the URL, for errors.

    Raises:
        Unavailable: the server cannot be reached.
        FailedPrecondition: the server does not accept the user, the database or the options of the URL.
    """
    try:
        with typed_errors():
            return await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=max_size,
                timeout=CONNECT_SECONDS,
                command_timeout=COMMAND_SECONDS,
                connection_class=ScopedConnection,
                init=_init,
                server_settings={"application_name": application_name},
            )
    except _MISCONFIGURED as error:
        raise errors.FailedPrecondition(
            f"the Postgres of {setting} does not take its user, database or options: {error}",
            reason=reasons.POSTGRES_REFUSED,
        ) from error


@contextmanager
def typed_errors() -> Iterator[None]:
    """Turn a lost or refused connection, and a server that cannot work, into Unavailable, inside a `with` block.

    Raises:
        Unavailable: POSTGRES_UNAVAILABLE, or STORAGE_FULL if the server has stopped because its disk is full; a write
            whose connection is lost may or may not have been done. STORAGE_FULL, POSTGRES_READ_ONLY, POSTGRES_IO_ERROR
            or POSTGRES_OUT_OF_RESOURCES if the server answers; the write was not done.
    """
    try:
        yield
    except _LOST as error:
        raise _unavailable() from error
    except _REFUSALS as error:
        raise _refusal(error) from error
    except asyncpg.InterfaceError as error:
        # asyncpg has no class of its own for a connection that went away between two commands.
        if _CLOSED.search(str(error)):
            raise _unavailable() from error
        raise
    except asyncpg.InternalClientError as error:
        if _SERVER_STOPS.search(str(error)):
            raise _unavailable() from error
        raise


@asynccontextmanager
async def _acquired(pool: "Pool", scope: bytes, *, once: bool) -> AsyncIterator["Connection"]:
    with typed_errors():
        async with pool.acquire(timeout=ACQUIRE_SECONDS) as acquired:
            if not scope:
                yield acquired
                return
            scoped = cast(ScopedConnection, acquired).begin_scope(scope, once=once)
            try:
                yield acquired
            finally:
                await scoped.end_scope()


def _tenant(tenant_id: str) -> bytes:
    if not tenant_id:
        # An empty setting is one that is not set: its rows would be those of nobody.
        raise ValueError("a tenant has an id")
    return scope_of(TENANT_SETTING, tenant_id)


async def _role(pool: "Pool") -> str:
    with typed_errors():
        role: str = await pool.fetchval("SELECT current_user::text")
    return role


class KeptConnection:
    """A connection of the pool that one task keeps between statements.

    To take a connection and give it back takes longer than many statements. After `give_back` the next use takes
    another connection.
    """

    def __init__(self, pool: "Pool", scope: bytes = b"") -> None:
        self._pool = pool
        self._scope = scope
        self._connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record] | None = None

    @asynccontextmanager
    async def use(self) -> AsyncIterator["Connection"]:
        """The connection, for the block; after an exception it goes back to the pool.

        Raises:
            Unavailable: Postgres cannot be reached, or no connection came free in time.
        """
        with typed_errors():
            if self._connection is not None and _gone(self._connection):
                await self.give_back()
            if self._connection is None:
                self._connection = await self._pool.acquire(timeout=ACQUIRE_SECONDS)
            try:
                if not self._scope:
                    yield self._connection
                    return
                scoped = cast(ScopedConnection, self._connection).begin_scope(self._scope, once=False)
                try:
                    yield self._connection
                finally:
                    await scoped.end_scope()
            except BaseException:
                await self.give_back()
                raise

    async def give_back(self) -> None:
        """Give the connection back to the pool."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.release(connection)


async def ping(database: Database) -> None:
    """Return if Postgres answers and can store something.

    Raises:
        Unavailable: it does not answer, or cannot store anything.
    """
    async with database.system.connection() as acquired:
        await acquired.execute(_WRITE)
        if await acquired.fetchval("SELECT current_setting('transaction_read_only')") == "on":
            raise asyncpg.ReadOnlySQLTransactionError


def _gone(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # The pool has taken back the connection, because the server closed it.
        return True


def _unavailable() -> errors.Unavailable:
    if disk.full("postgres"):
        return _error(*_STORAGE_FULL)
    return _error(reasons.POSTGRES_UNAVAILABLE, "the database cannot be reached now", RETRY_SECONDS)


def _refusal(error: Exception) -> errors.Unavailable:
    return next(_error(*what) for kind, what in _REFUSED if isinstance(error, kind))


def _error(reason: str, message: str, seconds: float) -> errors.Unavailable:
    return errors.Unavailable(message, reason=reason, metadata={"store": "postgres"}, retry_after=seconds)


async def _init(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=_encode, decoder=orjson.loads)
    await cast(ScopedConnection, connection).prepare_scope()


def _encode(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        # orjson refuses integers of more than 64 bits, which are valid JSON and which jsonb keeps.
        return json.dumps(value, allow_nan=False)
