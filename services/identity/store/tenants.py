"""Tenants and their roles, in Postgres."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import asyncpg
from soma.identity.v1 import role_service_pb2, user_service_pb2
from soma.identity.v1 import tenant_service_pb2 as pb
from soma.identity.v1.auth_service_pb2 import Revocation

from services.identity.store import people
from services.identity.store.revocations import revoke

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Database

CREATE = """
    INSERT INTO identity.tenant (tenant_id, title, state, tier) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant_id) DO NOTHING RETURNING *
"""
GET = "SELECT * FROM identity.tenant WHERE tenant_id = $1"
LIST = """
    SELECT * FROM identity.tenant WHERE tenant_id COLLATE "C" > $1 ORDER BY tenant_id COLLATE "C" LIMIT $2
"""
UPDATE = """
    UPDATE identity.tenant SET title = $2, state = $3, tier = $4, version = version + 1, update_time = now()
    WHERE tenant_id = $1 AND version = $5 RETURNING *
"""
ROLES = """SELECT * FROM identity.role WHERE tenant_id = $1 ORDER BY name COLLATE "C" """
SET_ROLE = """
    INSERT INTO identity.role (tenant_id, name, description, scopes) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant_id, name) DO UPDATE
        SET description = excluded.description, scopes = excluded.scopes, update_time = now()
    RETURNING *
"""
DELETE_ROLE = "DELETE FROM identity.role WHERE tenant_id = $1 AND name = $2 RETURNING name"


class TenantStore:
    """Keeps tenants; a change writes the tenant's revocation."""

    def __init__(self, database: "Database") -> None:
        self._tenants = database.tenants
        self._system = database.system

    async def create(self, tenant: pb.Tenant, admin: user_service_pb2.User, password: str) -> pb.Tenant | None:
        """Store a tenant with its administrator; None if there is a tenant with this id."""
        async with self._tenants.transaction(tenant.tenant_id) as connection:
            row = await connection.fetchrow(CREATE, tenant.tenant_id, tenant.title, pb.Tenant.STATE_ACTIVE, tenant.tier)
            if row is None:
                return None
            await people.add(connection, tenant.tenant_id, admin, password)
        return _read(row)

    async def get(self, tenant_id: str) -> pb.Tenant | None:
        """A tenant; None if there is none with this id."""
        async with self._tenants.connection(tenant_id) as connection:
            row = await connection.fetchrow(GET, tenant_id)
        return None if row is None else _read(row)

    async def page(self, after: str, limit: int) -> Sequence[pb.Tenant]:
        """The tenants whose ids come after this one, in order."""
        async with self._system.connection() as connection:
            return [_read(row) for row in await connection.fetch(LIST, after, limit)]

    async def update(self, tenant: pb.Tenant, version: int) -> pb.Tenant | None:
        """Store the new values of a tenant that still has this version; None if it has another."""
        async with self._tenants.transaction(tenant.tenant_id) as connection:
            row = await connection.fetchrow(UPDATE, tenant.tenant_id, tenant.title, tenant.state, tenant.tier, version)
            if row is None:
                return None
            await revoke(connection, Revocation.KIND_TENANT, tenant.tenant_id)
        return _read(row)

    async def roles(self, tenant_id: str) -> Mapping[str, role_service_pb2.Role]:
        """The roles that a tenant made, by name."""
        async with self._tenants.connection(tenant_id) as connection:
            rows = await connection.fetch(ROLES, tenant_id)
        return {row["name"]: _read_role(row) for row in rows}

    async def set_role(self, tenant_id: str, role: role_service_pb2.Role) -> role_service_pb2.Role:
        """Store a role, in place of the one with its name."""
        async with self._tenants.transaction(tenant_id) as connection:
            row = await connection.fetchrow(SET_ROLE, tenant_id, role.name, role.description, list(role.scopes))
            await revoke(connection, Revocation.KIND_TENANT, tenant_id)
        return _read_role(row)

    async def delete_role(self, tenant_id: str, name: str) -> bool:
        """Delete a role; False if the tenant did not make such a role."""
        async with self._tenants.transaction(tenant_id) as connection:
            if await connection.fetchval(DELETE_ROLE, tenant_id, name) is None:
                return False
            await revoke(connection, Revocation.KIND_TENANT, tenant_id)
        return True


def _read(row: asyncpg.Record) -> pb.Tenant:
    return pb.Tenant(
        tenant_id=row["tenant_id"],
        title=row["title"],
        state=row["state"],
        tier=row["tier"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        etag=str(row["version"]),
    )


def _read_role(row: asyncpg.Record | None) -> role_service_pb2.Role:
    assert row is not None
    return role_service_pb2.Role(
        name=row["name"], description=row["description"], scopes=row["scopes"], update_time=row["update_time"]
    )
