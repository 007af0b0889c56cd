"""Service accounts and their keys, in Postgres."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
from soma.identity.v1 import service_account_service_pb2 as pb
from soma.identity.v1.auth_service_pb2 import Revocation

from services.identity.store.revocations import revoke
from services.mesh.call.api_key import ApiKey

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, Database

CREATE = """
    INSERT INTO identity.service_account (tenant_id, name, scopes, state, tier, creator)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, name) DO NOTHING RETURNING service_account_id
"""
ADD_KEY = """
    INSERT INTO identity.api_key (tenant_id, service_account_id, key_id, digest, expire_time)
    VALUES ($1, $2, $3, $4, $5)
"""
GET = "SELECT * FROM identity.service_account WHERE tenant_id = $1 AND service_account_id = $2"
LOCK = f"{GET} FOR UPDATE"
LIST = """
    SELECT * FROM identity.service_account
    WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR (create_time, service_account_id) < ($2, $3::uuid))
    ORDER BY create_time DESC, service_account_id DESC LIMIT $4
"""
KEYS = """
    SELECT * FROM identity.api_key WHERE tenant_id = $1 AND service_account_id = ANY($2)
    ORDER BY create_time DESC, key_id
"""
# A key that ends earlier anyway keeps its end.
# Without an overlap the earlier keys are revoked: that is how somebody rotates a key that others may have.
SHORTEN = """
    UPDATE identity.api_key SET expire_time = now() + make_interval(secs => $3),
        revoke_time = CASE WHEN $3::float8 = 0 THEN now() END
    WHERE tenant_id = $1 AND service_account_id = $2 AND revoke_time IS NULL
        AND (expire_time IS NULL OR expire_time > now() + make_interval(secs => $3))
    RETURNING key_id
"""
REVOKE = """
    UPDATE identity.service_account SET state = $3
    WHERE tenant_id = $1 AND service_account_id = $2 RETURNING service_account_id
"""
REVOKE_KEYS = """
    UPDATE identity.api_key SET revoke_time = now()
    WHERE tenant_id = $1 AND service_account_id = $2 AND revoke_time IS NULL AND ($3 = '' OR key_id = $3)
    RETURNING key_id
"""
USED = """
    UPDATE identity.api_key SET last_use_time = used.time
    FROM unnest($1::text[], $2::timestamptz[]) AS used (key_id, time)
    WHERE api_key.key_id = used.key_id AND (last_use_time IS NULL OR last_use_time < used.time)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """The account after which a page begins."""

    create_time: datetime
    service_account_id: UUID


class AccountStore:
    """Keeps service accounts; every change that takes something away writes its revocation."""

    def __init__(self, database: "Database") -> None:
        self._tenants = database.tenants
        self._system = database.system

    async def create(
        self, account: pb.ServiceAccount, tenant_id: str, key: ApiKey, expire_time: datetime | None
    ) -> pb.ServiceAccount | None:
        """Store a new account with its first key; None if the tenant has an account of that name."""
        async with self._tenants.transaction(tenant_id) as connection:
            account_id: UUID | None = await connection.fetchval(
                CREATE,
                tenant_id,
                account.name,
                list(account.scopes),
                pb.ServiceAccount.STATE_ACTIVE,
                account.tier,
                account.creator,
            )
            if account_id is None:
                return None
            await connection.execute(ADD_KEY, tenant_id, account_id, key.key_id, key.digest, expire_time)
            return await _account(connection, tenant_id, account_id)

    async def get(self, tenant_id: str, account_id: UUID) -> pb.ServiceAccount | None:
        """An account with its keys; None if the tenant has no such account."""
        async with self._tenants.connection(tenant_id) as connection:
            return await _account(connection, tenant_id, account_id)

    async def page(self, tenant_id: str, after: Place | None, limit: int) -> Sequence[pb.ServiceAccount]:
        """The accounts of a tenant behind a place, newest first, each with its keys."""
        async with self._tenants.connection(tenant_id) as connection:
            rows = await connection.fetch(
                LIST, tenant_id, after and after.create_time, after and after.service_account_id, limit
            )
            keys = await _keys(connection, tenant_id, [row["service_account_id"] for row in rows])
        return [_read(row, keys) for row in rows]

    async def rotate(
        self, tenant_id: str, account_id: UUID, key: ApiKey, expire_time: datetime | None, overlap_seconds: float
    ) -> pb.ServiceAccount | None:
        """Add a key, and end the others after the overlap; None if there is no such account.

        The account is returned as it was when it is revoked: without the key.
        """
        async with self._tenants.transaction(tenant_id) as connection:
            row = await connection.fetchrow(LOCK, tenant_id, account_id)
            if row is None:
                return None
            if row["state"] == pb.ServiceAccount.STATE_ACTIVE:
                ended = await connection.fetch(SHORTEN, tenant_id, account_id, overlap_seconds)
                await connection.execute(ADD_KEY, tenant_id, account_id, key.key_id, key.digest, expire_time)
                # Whoever keeps the principal of a key learns that it ends earlier.
                await revoke(connection, Revocation.KIND_CREDENTIAL, tenant_id, [row["key_id"] for row in ended])
            return await _account(connection, tenant_id, account_id)

    async def revoke(self, tenant_id: str, account_id: UUID) -> pb.ServiceAccount | None:
        """End an account and all of its keys; None if there is no such account."""
        async with self._tenants.transaction(tenant_id) as connection:
            if await connection.fetchval(REVOKE, tenant_id, account_id, pb.ServiceAccount.STATE_REVOKED) is None:
                return None
            await connection.execute(REVOKE_KEYS, tenant_id, account_id, "")
            await revoke(connection, Revocation.KIND_SUBJECT, tenant_id, [str(account_id)])
            return await _account(connection, tenant_id, account_id)

    async def revoke_key(self, tenant_id: str, account_id: UUID, key_id: str) -> pb.ServiceAccount | None:
        """End one key; None if there is no such account, or it has no such key."""
        async with self._tenants.transaction(tenant_id) as connection:
            ended = await connection.fetch(REVOKE_KEYS, tenant_id, account_id, key_id)
            await revoke(connection, Revocation.KIND_CREDENTIAL, tenant_id, [row["key_id"] for row in ended])
            account = await _account(connection, tenant_id, account_id)
        return account if account is not None and any(key.key_id == key_id for key in account.keys) else None

    async def used(self, times: Mapping[str, datetime]) -> None:
        """Write when keys were last used."""
        async with self._system.connection() as connection:
            await connection.execute(USED, list(times), list(times.values()))


async def _account(connection: "Connection", tenant_id: str, account_id: UUID) -> pb.ServiceAccount | None:
    row = await connection.fetchrow(GET, tenant_id, account_id)
    return None if row is None else _read(row, await _keys(connection, tenant_id, [account_id]))


async def _keys(
    connection: "Connection", tenant_id: str, accounts: Sequence[UUID]
) -> Mapping[UUID, Sequence[pb.ApiKey]]:
    found: dict[UUID, list[pb.ApiKey]] = {}
    for row in await connection.fetch(KEYS, tenant_id, accounts):
        key = pb.ApiKey(
            key_id=row["key_id"],
            create_time=row["create_time"],
            expire_time=row["expire_time"],
            revoke_time=row["revoke_time"],
            last_use_time=row["last_use_time"],
        )
        found.setdefault(row["service_account_id"], []).append(key)
    return found


def _read(row: asyncpg.Record, keys: Mapping[UUID, Sequence[pb.ApiKey]]) -> pb.ServiceAccount:
    return pb.ServiceAccount(
        service_account_id=str(row["service_account_id"]),
        name=row["name"],
        scopes=row["scopes"],
        state=row["state"],
        tier=row["tier"],
        creator=row["creator"],
        create_time=row["create_time"],
        keys=keys.get(row["service_account_id"], ()),
    )
