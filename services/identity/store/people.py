"""Users, in Postgres."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
from soma.identity.v1 import user_service_pb2 as pb
from soma.identity.v1.auth_service_pb2 import Revocation

from services.identity.store.revocations import revoke
from services.identity.store.sessions import end_all

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, TenantPool

CREATE = """
    INSERT INTO identity.person
        (tenant_id, username, email, display_name, roles, state, password, must_change_password, issuer, subject)
    VALUES ($1, $2, $3, $4, $5, $6, $7::text, $7::text IS NOT NULL, $8, $9) ON CONFLICT DO NOTHING RETURNING *
"""
GET = "SELECT * FROM identity.person WHERE tenant_id = $1 AND user_id = $2"
LOGIN = """
    SELECT person.*, tenant.state AS tenant_state FROM identity.person JOIN identity.tenant USING (tenant_id)
    WHERE person.tenant_id = $1 AND lower(person.username) = lower($2)
"""
LIST = """
    SELECT * FROM identity.person WHERE tenant_id = $1 AND ($2 = '' OR lower(username) > lower($2))
    ORDER BY lower(username) LIMIT $3
"""
UPDATE = """
    UPDATE identity.person SET email = $3, display_name = $4, roles = $5, state = $6, version = version + 1
    WHERE tenant_id = $1 AND user_id = $2 AND version = $7 RETURNING *
"""
SET_PASSWORD = """
    UPDATE identity.person SET password = $3, must_change_password = $4, version = version + 1
    WHERE tenant_id = $1 AND user_id = $2 RETURNING user_id
"""
DELETE = "DELETE FROM identity.person WHERE tenant_id = $1 AND user_id = $2 RETURNING user_id"
# Every change of administrators takes this lock, so that two of them cannot each leave the other as the last one.
LOCK_TENANT = "SELECT tenant_id FROM identity.tenant WHERE tenant_id = $1 FOR UPDATE"
ADMINS = """
    SELECT count(*) FROM identity.person WHERE tenant_id = $1 AND state = $2 AND $3 = ANY(roles) AND user_id <> $4
"""


@dataclass(frozen=True, slots=True)
class Person:
    """A user as it is read to log in: the public part, the hash of the password, and the state of the tenant."""

    public: pb.User
    password: str | None
    tenant_state: int


class PeopleStore:
    """Keeps users; every change that takes something away writes its revocation and ends sessions."""

    def __init__(self, tenants: "TenantPool") -> None:
        self._tenants = tenants

    async def create(self, tenant_id: str, user: pb.User, password: str | None) -> pb.User | None:
        """Store a user with the hash of a password that has to be changed; None if the name or subject is taken."""
        async with self._tenants.connection(tenant_id) as connection:
            return await add(connection, tenant_id, user, password)

    async def get(self, tenant_id: str, user_id: UUID) -> pb.User | None:
        """A user; None if the tenant has no such user."""
        async with self._tenants.connection(tenant_id) as connection:
            row = await connection.fetchrow(GET, tenant_id, user_id)
        return None if row is None else _read(row)

    async def login(self, tenant_id: str, username: str) -> Person | None:
        """The user with a name; None if there is none, or no such tenant."""
        async with self._tenants.connection(tenant_id) as connection:
            row = await connection.fetchrow(LOGIN, tenant_id, username)
        return None if row is None else Person(_read(row), row["password"], row["tenant_state"])

    async def password(self, tenant_id: str, user_id: UUID) -> str | None:
        """The hash of a user's password; None if there is no such user."""
        async with self._tenants.connection(tenant_id) as connection:
            row = await connection.fetchrow(GET, tenant_id, user_id)
        return None if row is None else row["password"]

    async def page(self, tenant_id: str, after: str, limit: int) -> Sequence[pb.User]:
        """The users of a tenant whose names come after this one, in order."""
        async with self._tenants.connection(tenant_id) as connection:
            return [_read(row) for row in await connection.fetch(LIST, tenant_id, after, limit)]

    async def update(self, tenant_id: str, user: pb.User, version: int, admin: str) -> pb.User | None:
        """Store the new values of a user that still has this version; None if it has another, or is gone.

        Raises:
            LastAdmin: nobody else has the role `admin`, and the user would lose it.
        """
        user_id = UUID(user.user_id)
        async with self._tenants.transaction(tenant_id) as connection:
            await connection.execute(LOCK_TENANT, tenant_id)
            row = await connection.fetchrow(
                UPDATE, tenant_id, user_id, user.email, user.display_name, list(user.roles), user.state, version
            )
            if row is None:
                return None
            if user.state != pb.User.STATE_ACTIVE:
                await end_all(connection, tenant_id, user_id)
            await revoke(connection, Revocation.KIND_SUBJECT, tenant_id, [user.user_id])
            await _require_admin(connection, tenant_id, admin, row)
        return _read(row)

    async def set_password(
        self, tenant_id: str, user_id: UUID, password: str, *, must_change: bool, but: UUID | None = None
    ) -> bool:
        """Store the hash of another password, and end all sessions but for one; False if there is no such user."""
        async with self._tenants.transaction(tenant_id) as connection:
            found = await connection.fetchval(SET_PASSWORD, tenant_id, user_id, password, must_change)
            if found is None:
                return False
            await end_all(connection, tenant_id, user_id, but)
            await revoke(connection, Revocation.KIND_SUBJECT, tenant_id, [str(user_id)])
        return True

    async def delete(self, tenant_id: str, user_id: UUID, admin: str) -> bool:
        """Delete a user and its sessions; False if there is no such user.

        Raises:
            LastAdmin: nobody else has the role `admin`.
        """
        async with self._tenants.transaction(tenant_id) as connection:
            await connection.execute(LOCK_TENANT, tenant_id)
            row = await connection.fetchrow(GET, tenant_id, user_id)
            if row is None:
                return False
            await connection.execute(DELETE, tenant_id, user_id)
            await revoke(connection, Revocation.KIND_SUBJECT, tenant_id, [str(user_id)])
            await _require_admin(connection, tenant_id, admin, None)
        return True


class LastAdmin(Exception):
    """A tenant would be left without an administrator."""


async def add(connection: "Connection", tenant_id: str, user: pb.User, password: str | None) -> pb.User | None:
    """Store a new user; None if its name, or its subject at an outside issuer, is taken."""
    row = await connection.fetchrow(
        CREATE,
        tenant_id,
        user.username,
        user.email,
        user.display_name,
        list(user.roles),
        pb.User.STATE_ACTIVE,
        password,
        user.outside.issuer,
        user.outside.subject,
    )
    return None if row is None else _read(row)


async def _require_admin(connection: "Connection", tenant_id: str, admin: str, left: asyncpg.Record | None) -> None:
    if left is not None and left["state"] == pb.User.STATE_ACTIVE and admin in left["roles"]:
        return
    nobody = UUID(int=0)
    if not await connection.fetchval(ADMINS, tenant_id, pb.User.STATE_ACTIVE, admin, nobody):
        raise LastAdmin


def _read(row: asyncpg.Record) -> pb.User:
    return pb.User(
        user_id=str(row["user_id"]),
        username=row["username"],
        email=row["email"],
        display_name=row["display_name"],
        roles=row["roles"],
        state=row["state"],
        must_change_password=row["must_change_password"],
        create_time=row["create_time"],
        outside=pb.OutsideIdentity(issuer=row["issuer"], subject=row["subject"]) if row["issuer"] else None,
        last_login_time=row["last_login_time"],
        etag=str(row["version"]),
    )
