"""Brings a service's schema up to what its code expects: plain SQL files, run in order, once.

A service keeps `migrations/0001_….sql`, `0002_….sql`, …; its schema's version is in a table inside that schema.
Alembic orders the files and keeps the version table; it is imported only when there is something to do, because
SQLAlchemy takes longer to import than a warm start may take.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.events.outbox import make_outbox, outbox_missing
from services.mesh.stores import postgres

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
VERSION_TABLE = "schema_version"
_FILE = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_SCHEMA = re.compile(r"^[a-z][a-z0-9_]*$")


async def migrate(url: str, schema: str, directory: "os.PathLike[str]", *, outbox: bool = False) -> None:
    """Bring `schema` to the newest version in `directory`; with `outbox`, it has that of a service that sends events.

    The files' statements see the schema first in their search path, then `public`. Everything happens in one
    transaction under an advisory lock: processes that start together take turns, and a file that fails leaves the
    schema as it was.

    Raises:
        FailedPrecondition: the database is newer than this code, or a file's name is out of order.
        Unavailable: the database cannot be reached.
    """
    if not _SCHEMA.match(schema):
        raise ValueError(f"not a schema name: {schema!r}")
    files = _files(Path(directory))
    with postgres.typed_errors():
        connection: Connection = await asyncpg.connect(url, timeout=postgres.CONNECT_SECONDS)
        try:
            if not await _behind(connection, schema, files) and not (
                outbox and await outbox_missing(connection, schema)
            ):
                return
            async with connection.transaction():
                await connection.execute(LOCK, f"soma.migrate.{schema}")
                await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
                if await _behind(connection, schema, files):
                    await connection.execute(f"SET LOCAL search_path TO {schema}, public")
                    # asyncpg runs several statements in one go only without parameters, which a script has none of.
                    await connection.execute(_script(schema, files, await _version(connection, schema)))
                if outbox and await outbox_missing(connection, schema):
                    await make_outbox(connection, schema)
        finally:
            await connection.close()


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
    # Asked through the catalogue first, because a failed statement would end the transaction.
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
    """The SQL that takes the schema from `version` to the newest, the version table's own changes included."""
    from services.mesh.stores.migration_script import render

    return render(schema, VERSION_TABLE, files, version)
