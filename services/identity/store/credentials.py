"""Who has a credential, in Postgres: one statement each, whose snapshot also has the newest revocation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Database

KEY = """
    SELECT key.digest, key.expire_time, key.revoke_time, account.tenant_id, account.service_account_id, account.scopes,
        account.state, account.tier, tenant.state AS tenant_state, tenant.tier AS tenant_tier, counter.sequence
    FROM identity.revocation_counter AS counter, identity.api_key AS key
    JOIN identity.service_account AS account USING (tenant_id, service_account_id)
    JOIN identity.tenant AS tenant USING (tenant_id)
    WHERE key.key_id = $1
"""
SESSION = """
    SELECT session.expire_time, session.end_time, session.logged_out, person.tenant_id, person.user_id,
        session.claimed_roles, person.roles, person.state, person.must_change_password,
        tenant.state AS tenant_state, tenant.tier AS tenant_tier, counter.sequence,
        (SELECT jsonb_object_agg(role.name, role.scopes) FROM identity.role
            WHERE role.tenant_id = person.tenant_id AND role.name = ANY(person.roles || session.claimed_roles)
        ) AS own_roles
    FROM identity.revocation_counter AS counter, identity.session
    JOIN identity.person USING (tenant_id, user_id)
    JOIN identity.tenant USING (tenant_id)
    WHERE session.session_id = $1 AND session.tenant_id = $2 AND ($3::uuid IS NULL OR session.user_id = $3)
"""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key, with the account and the tenant that it belongs to."""

    digest: bytes
    expire_time: datetime | None
    revoke_time: datetime | None
    tenant_id: str
    service_account_id: UUID
    scopes: Sequence[str]
    state: int
    tier: str
    tenant_state: int
    tenant_tier: str
    sequence: int


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session, with the person and the tenant that it belongs to.

    Attributes:
        claimed_roles: what a token of an outside issuer adds to the roles of the person.
    """

    expire_time: datetime
    end_time: datetime | None
    logged_out: bool
    tenant_id: str
    user_id: UUID
    claimed_roles: Sequence[str]
    roles: Sequence[str]
    state: int
    must_change_password: bool
    tenant_state: int
    tenant_tier: str
    sequence: int
    own_roles: Mapping[str, Sequence[str]] | None


class CredentialStore:
    """Finds credentials of all tenants."""

    def __init__(self, database: "Database") -> None:
        self._tenants = database.tenants
        self._system = database.system

    async def key(self, key_id: str) -> KeyRow | None:
        """A key; None if there is none with this id."""
        # A key says nothing about its tenant.
        async with self._system.connection() as connection:
            row = await connection.fetchrow(KEY, key_id)
        return None if row is None else KeyRow(**row)

    async def session(self, session_id: UUID, tenant_id: str, user_id: UUID | None = None) -> SessionRow | None:
        """A session of a person, or of anybody in the tenant; None if there is none with this id."""
        async with self._tenants.connection(tenant_id) as connection:
            row = await connection.fetchrow(SESSION, session_id, tenant_id, user_id)
        return None if row is None else SessionRow(**row)
