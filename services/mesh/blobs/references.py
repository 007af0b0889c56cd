"""Who needs which object: tables `mesh.blob`, `mesh.blob_reference`, `mesh.blob_released` and `mesh.blob_garbage`.

A row of `mesh.blob` is committed only after its object was stored, and an object is deleted only after the deletion of
its row was committed. So a process that is killed at any point leaves at most an object without a row.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import asyncpg

    from services.mesh.stores.postgres import Connection

Name: TypeAlias = tuple[str, str]
"""A tenant's id, and the hash of bytes of that tenant."""

# Bytes whose last owner is gone are gone at once, and not only after the next sweep.
FIND = """
    SELECT object FROM mesh.blob WHERE tenant_id = $1 AND hash = $2 AND EXISTS (
        SELECT FROM mesh.blob_reference AS reference
        WHERE reference.tenant_id = blob.tenant_id AND reference.hash = blob.hash
    )
"""
# The lock keeps the rows until the transaction ends. The order prevents deadlocks with other callers.
LOCK_KNOWN = """
    SELECT hash, EXISTS (
        SELECT FROM mesh.blob_reference AS reference
        WHERE reference.tenant_id = blob.tenant_id AND reference.hash = blob.hash
    ) AS owned
    FROM mesh.blob WHERE tenant_id = $1 AND hash = ANY($2) ORDER BY hash FOR KEY SHARE
"""
# If several callers have stored the same bytes, the first object counts. The update locks its row.
ADD = """
    INSERT INTO mesh.blob AS blob (tenant_id, hash, size, object) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant_id, hash) DO UPDATE SET size = blob.size RETURNING object
"""
REFER = """
    INSERT INTO mesh.blob_reference (tenant_id, hash, owner) SELECT $1, hash, $3 FROM unnest($2::text[]) AS hash
    ON CONFLICT DO NOTHING
"""
RELEASE = """
    WITH released AS (
        DELETE FROM mesh.blob_reference WHERE tenant_id = $1 AND owner = $2 RETURNING tenant_id, hash
    )
    INSERT INTO mesh.blob_released (tenant_id, hash) SELECT tenant_id, hash FROM released
"""
OLDEST_RELEASED = "SELECT id, tenant_id, hash FROM mesh.blob_released ORDER BY id LIMIT $1"
# A row that somebody else has locked is getting a reference; it is looked at again later.
LOCK = """
    SELECT tenant_id, hash FROM mesh.blob
    WHERE (tenant_id, hash) IN (SELECT * FROM unnest($1::text[], $2::text[])) FOR UPDATE SKIP LOCKED
"""
EXISTING = """
    SELECT tenant_id, hash FROM mesh.blob
    WHERE (tenant_id, hash) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""
# A statement of its own after the lock, because only a new snapshot has the references that were committed meanwhile.
DISCARD = """
    WITH discarded AS (
        DELETE FROM mesh.blob WHERE (tenant_id, hash) IN (SELECT * FROM unnest($1::text[], $2::text[]))
        AND NOT EXISTS (
            SELECT FROM mesh.blob_reference AS reference
            WHERE reference.tenant_id = blob.tenant_id AND reference.hash = blob.hash
        ) RETURNING object
    )
    INSERT INTO mesh.blob_garbage (object) SELECT object FROM discarded
"""
FORGET_RELEASED = "DELETE FROM mesh.blob_released WHERE id = ANY($1)"
GARBAGE = "SELECT object FROM mesh.blob_garbage LIMIT $1 FOR UPDATE SKIP LOCKED"
FORGET_GARBAGE = "DELETE FROM mesh.blob_garbage WHERE object = ANY($1)"
UNKNOWN = """
    SELECT object FROM unnest($1::text[]) AS object
    WHERE NOT EXISTS (SELECT FROM mesh.blob WHERE blob.object = object.object)
        AND NOT EXISTS (SELECT FROM mesh.blob_garbage WHERE blob_garbage.object = object.object)
"""


async def find(connection: "Connection", tenant_id: str, hash: str) -> str | None:
    """The object of bytes that somebody needs; None if there is none."""
    found: str | None = await connection.fetchval(FIND, tenant_id, hash)
    return found


async def lock_known(connection: "Connection", tenant_id: str, hashes: Collection[str]) -> dict[str, bool]:
    """Those hashes that have a row, each with whether somebody needs it; the rows stay until the transaction ends."""
    rows = await connection.fetch(LOCK_KNOWN, tenant_id, hashes)
    return {row["hash"]: row["owned"] for row in rows}


async def add(connection: "Connection", tenant_id: str, hash: str, size: int, key: str) -> bool:
    """Add the row of an object that was stored; returns False if there is one, with another object."""
    return bool(await connection.fetchval(ADD, tenant_id, hash, size, key) == key)


async def refer(connection: "Connection", tenant_id: str, owner: str, hashes: Collection[str]) -> None:
    """Add an owner's references."""
    await connection.execute(REFER, tenant_id, hashes, owner)


async def release(connection: "Connection", tenant_id: str, owner: str) -> None:
    """Remove an owner's references."""
    await connection.execute(RELEASE, tenant_id, owner)


async def discard_released(connection: "Connection", limit: int) -> int:
    """Make garbage of bytes that lost an owner and have no other; returns how many were looked at.

    It needs a transaction.
    """
    rows = await connection.fetch(OLDEST_RELEASED, limit)
    names = {(row["tenant_id"], row["hash"]) for row in rows}
    if not names:
        return 0
    locked = _names(await connection.fetch(LOCK, *_columns(names)))
    await connection.execute(DISCARD, *_columns(locked))
    busy = _names(await connection.fetch(EXISTING, *_columns(names - locked)))
    done = [row["id"] for row in rows if (row["tenant_id"], row["hash"]) not in busy]
    await connection.execute(FORGET_RELEASED, done)
    return len(done)


async def garbage(connection: "Connection", limit: int) -> list[str]:
    """Keys of objects to delete; they are locked until the transaction ends."""
    return [row["object"] for row in await connection.fetch(GARBAGE, limit)]


async def forget_garbage(connection: "Connection", keys: Sequence[str]) -> None:
    """Forget objects that were deleted."""
    await connection.execute(FORGET_GARBAGE, keys)


async def unknown(connection: "Connection", keys: Sequence[str]) -> list[str]:
    """Those keys that no table has."""
    return [row["object"] for row in await connection.fetch(UNKNOWN, keys)]


def _columns(names: Collection[Name]) -> tuple[list[str], list[str]]:
    return [tenant_id for tenant_id, _ in names], [hash for _, hash in names]


def _names(rows: "Sequence[asyncpg.Record]") -> set[Name]:
    return {(row["tenant_id"], row["hash"]) for row in rows}
