"""Revocations: written in the transaction of the change that takes something away, numbered in the order of commits."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from soma.identity.v1.auth_service_pb2 import Revocation

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, SystemPool

# The lock on this row lasts until the commit, so a later number is never seen before an earlier one.
COUNT = "UPDATE identity.revocation_counter SET sequence = sequence + $1 RETURNING sequence"
ADD = """
    INSERT INTO identity.revocation (sequence, kind, tenant_id, id)
    SELECT $1 + place - 1, $2, $3, id FROM unnest($4::text[]) WITH ORDINALITY AS given (id, place)
"""
NEWEST = "SELECT sequence FROM identity.revocation_counter"
AFTER = """
    SELECT sequence, kind, tenant_id, id FROM identity.revocation WHERE sequence > $1 ORDER BY sequence LIMIT $2
"""
# The oldest that are kept let a process that was away for a day go on where it was.
SWEEP = "DELETE FROM identity.revocation WHERE create_time < now() - interval '1 day'"


async def revoke(
    connection: "Connection", kind: "Revocation.Kind.ValueType", tenant_id: str, ids: Iterable[str] = ("",)
) -> None:
    """Write that these credentials or subjects, or the tenant, are revoked; in the transaction of the change."""
    given = list(ids)
    if given:
        last: int = await connection.fetchval(COUNT, len(given))
        await connection.execute(ADD, last - len(given) + 1, kind, tenant_id, given)


class RevocationStore:
    """Reads revocations of all tenants."""

    def __init__(self, pool: "SystemPool") -> None:
        self._pool = pool

    async def newest(self) -> int:
        """The number of the last one; 0 if there was none."""
        async with self._pool.connection() as connection:
            newest: int = await connection.fetchval(NEWEST)
        return newest

    async def after(self, sequence: int, limit: int) -> Sequence[Revocation]:
        """Those after a number, in order."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(AFTER, sequence, limit)
        return [Revocation(**row) for row in rows]

    async def sweep(self) -> None:
        """Delete what nobody can still have missed."""
        async with self._pool.connection() as connection:
            await connection.execute(SWEEP)
