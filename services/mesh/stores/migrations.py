"""Brings a service's schema to the version of its code: plain SQL files, each run once, in order.

A service has `migrations/0001_….sql`, `0002_….sql`, …; a table in the schema has the schema's version. Alembic orders
the files and keeps that table. It is imported only when a file has to be run, because to import SQLAlchemy takes longer
than a warm start may take.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.stores import postgres, row_security
from services.mesh.stores.row_security import Access, Roles

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection

# The schema of the mesh itself: leases, and how far events are handled.
MESH_SCHEMA = "mesh"
MESH_FOLDER = Path(__file__).parent / "migrations"
# Leases, consumers and what is to be deleted from the store of objects belong to no tenant. An event is handled for its
# tenant, and marked as handled in the same transaction.
MESH_ACCESS = Access(
    system={
        "lease": "SELECT INSERT UPDATE DELETE",
        "event_group": "SELECT INSERT UPDATE DELETE",
        "consumed": "SELECT INSERT UPDATE DELETE",
        "dead_letter": "SELECT INSERT UPDATE DELETE",
        "blob": "SELECT UPDATE DELETE",
        "blob_reference": "SELECT DELETE",
        "blob_released": "SELECT INSERT DELETE",
        "blob_garbage": "SELECT INSERT UPDATE DELETE",
    },
    shared={"consumed": "SELECT INSERT UPDATE DELETE"},
)
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
VERSION_TABLE = "schema_version"
_FILE = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_SCHEMA = re.compile(r"^[a-z][a-z0-9_]*$")
# The outbox of a service; `services.mesh.events.outbox` writes its rows.
# `consumer` is set for an event that is replayed: it is for that consumer alone. `added_ms` and `added_number` are the
# event's id in the stream.
_MAKE_OUTBOX = """
    CREATE TABLE IF NOT EXISTS {schema}.outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tenant_id text NOT NULL,
        aggregate text NOT NULL,
        event bytea NOT NULL
    );
    ALTER TABLE {schema}.outbox
        ADD COLUMN IF NOT EXISTS consumer text,
        ADD COLUMN IF NOT EXISTS added_ms bigint,
        ADD COLUMN IF NOT EXISTS added_number bigint;
    CREATE INDEX IF NOT EXISTS outbox_waiting ON {schema}.outbox (id) WHERE added_ms IS NULL;
    CREATE INDEX IF NOT EXISTS outbox_added ON {schema}.outbox (added_ms, added_number) WHERE added_ms IS NOT NULL;
"""
_FORCED = """
    SELECT oid::regclass::text FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relforcerowsecurity
"""
# What the relay does with an outbox.
_RELAYS = "SELECT UPDATE DELETE"
# The object that is made last.
_OUTBOX_MADE = "{schema}.outbox_added"


async def migrate(
    url: str,
    schema: str,
    directory: "os.PathLike[str]",
    roles: Roles | None = None,
    *,
    outbox: bool = False,
    access: Access = Access(),  # noqa: B008 -- it is frozen
) -> None:
    """Bring `schema` to the newest version in `directory`; with `outbox`, also make the table for the events it sends.

    The files' statements have the schema first in their search path, then `public`. All files run in one transaction
    under an advisory lock: processes that start together take turns, and if a file fails, the schema stays as it was.

    Args:
        url: of the role that owns the schema.
        roles: whose policies and grants the tables get; without them, only the owner can use the tables.
        outbox: whether the schema has one.
        access: what the tables need beside the access of tenants to their rows.

    Raises:
        FailedPrecondition: the database is newer than this code, or a file's name is out of order.
        Unavailable: the database cannot be reached.
    """
    if not _SCHEMA.match(schema):
        raise ValueError(f"not a schema name: {schema!r}")
    files = _files(Path(directory))
    if outbox:
        access = replace(access, system={**access.system, "outbox": _union(access.system.get("outbox", ""), _RELAYS)})
    with postgres.typed_errors():
        connection: Connection = await asyncpg.connect(url, timeout=postgres.CONNECT_SECONDS)
        try:
            if (
                not await _behind(connection, schema, files)
                and not (outbox and await _outbox_missing(connection, schema))
                and not await _insecure(connection, schema, roles, access)
            ):
                return
            async with connection.transaction():
                await connection.execute(LOCK, f"soma.migrate.{schema}")
                await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
                if await _behind(connection, schema, files):
                    # A migration may change the rows of all tenants; the end of this transaction forces the wall again.
                    for (table,) in await connection.fetch(_FORCED, schema):
                        await connection.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
                    await connection.execute(f"SET LOCAL search_path TO {schema}, public")
                    # asyncpg runs several statements in one go only without parameters, which a script has none of.
                    await connection.execute(_script(schema, files, await _version(connection, schema)))
                if outbox and await _outbox_missing(connection, schema):
                    await _make_outbox(connection, schema)
                for statement in await _insecure(connection, schema, roles, access):
                    await connection.execute(statement)
        finally:
            await connection.close()


async def migrate_mesh(url: str, roles: Roles | None = None) -> None:
    """Bring the mesh's own schema to the newest version, as `migrate` does."""
    await migrate(url, MESH_SCHEMA, MESH_FOLDER, roles, access=MESH_ACCESS)


async def check_roles(url: str, roles: Roles) -> None:
    """Check that the roles of a database are held to its policies; `url` is of the role that owns the tables.

    Raises:
        FailedPrecondition: they are not, and the settings say that they are.
        Unavailable: the database cannot be reached.
    """
    with postgres.typed_errors():
        connection: Connection = await asyncpg.connect(url, timeout=postgres.CONNECT_SECONDS)
        try:
            await row_security.check_roles(connection, roles)
        finally:
            await connection.close()


async def _insecure(connection: "Connection", schema: str, roles: Roles | None, access: Access) -> Sequence[str]:
    """The statements that the schema's policies and grants lack."""
    if roles is None:
        return ()
    return await row_security.changes(connection, schema, roles, access, frozenset({VERSION_TABLE}))


def _union(commands: str, more: str) -> str:
    return " ".join(dict.fromkeys((*commands.split(), *more.split())))


def _files(directory: Path) -> list[Path]:
    files = sorted(directory.glob("*.sql"))
    for number, file in enumerate(files, start=1):
        match = _FILE.match(file.name)
        if match is None or int(match[1]) != number:
            raise errors.FailedPrecondition(
                f"{file}: migrations are named NNNN_what_they_do.sql and numbered from 0001 without gaps",
                reason=reasons.MIGRATION_MISNAMED,
            )
    return files


def _number(file: Path) -> str:
    return file.name[:4]


async def _version(connection: "Connection", schema: str) -> str | None:
    # Whether the table exists is asked first, because a failed statement would end the transaction.
    if await connection.fetchval("SELECT to_regclass($1)", f"{schema}.{VERSION_TABLE}") is None:
        return None
    version: str | None = await connection.fetchval(f"SELECT version_num FROM {schema}.{VERSION_TABLE}")  # noqa: S608 -- a checked name
    return version


async def _behind(connection: "Connection", schema: str, files: Sequence[Path]) -> bool:
    version = await _version(connection, schema)
    known = [_number(file) for file in files]
    if version is not None and version not in known:
        raise errors.FailedPrecondition(
            f"schema {schema} of the database is at version {version}, and this version of soma knows it up to "
            f"{known[-1] if known else 'none'}: use the newer soma that made it, or another database",
            reason=reasons.DATABASE_NEWER,
            metadata={"schema": schema, "database": version},
        )
    return bool(known) and version != known[-1]


def _script(schema: str, files: Sequence[Path], version: str | None) -> str:
    """The SQL that brings the schema from `version` to the newest one, with the changes of the version table."""
    from services.mesh.stores.migration_script import render

    return render(schema, VERSION_TABLE, files, version)


async def _outbox_missing(connection: "Connection", schema: str) -> bool:
    """Whether the outbox of a schema has to be made, or brought to the version that the relay expects."""
    return await connection.fetchval("SELECT to_regclass($1)", _OUTBOX_MADE.format(schema=schema)) is None


async def _make_outbox(connection: "Connection", schema: str) -> None:
    """Make the outbox of a schema; an outbox of an earlier version keeps its rows. To repeat this changes nothing."""
    await connection.execute(_MAKE_OUTBOX.format(schema=schema))
