"""Users of outside issuers, and the sessions of their tokens, in Postgres."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from soma.identity.v1.auth_service_pb2 import Revocation
from soma.identity.v1.user_service_pb2 import User

from services.identity.store.revocations import revoke

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, TenantPool

FIND = "SELECT user_id FROM identity.person WHERE tenant_id = $1 AND issuer = $2 AND subject = $3 AND issuer <> ''"
TENANT = "SELECT tenant_id FROM identity.tenant WHERE tenant_id = $1"
# A second first token of the same person waits here for the first one, and then finds its user.
MAKE = """
    INSERT INTO identity.person
        (tenant_id, username, email, display_name, roles, state, must_change_password, issuer, subject)
    VALUES ($1, $2, $3, $4, '{}', $5, false, $6, $7) ON CONFLICT DO NOTHING
"""
BEGIN = """
    INSERT INTO identity.session AS session (tenant_id, session_id, user_id, expire_time, claimed_roles)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (tenant_id, session_id) DO UPDATE SET claimed_roles = excluded.claimed_roles
    RETURNING (xmax <> 0) AS changed
"""
SEEN = "UPDATE identity.person SET last_login_time = now() WHERE tenant_id = $1 AND user_id = $2"


@dataclass(frozen=True, slots=True)
class Admission:
    """A person with a valid token: who it is for its issuer, and what is stored of it.

    Attributes:
        roles: those that the token means.
    """

    tenant_id: str
    issuer: str
    subject: str
    session_id: UUID
    expire_time: datetime
    roles: Sequence[str]
    username: str
    email: str
    display_name: str


class OutsideStore:
    """Keeps users of outside issuers."""

    def __init__(self, tenants: "TenantPool") -> None:
        self._tenants = tenants

    async def admit(self, asked: Admission, *, make: bool) -> bool:
        """Begin the session of a token; False if it has no user, which is made if `make` says so."""
        async with self._tenants.transaction(asked.tenant_id) as connection:
            user_id = await self._user(connection, asked, make)
            if user_id is None:
                return False
            changed = await connection.fetchval(
                BEGIN, asked.tenant_id, asked.session_id, user_id, asked.expire_time, list(asked.roles)
            )
            if changed:
                await revoke(connection, Revocation.KIND_CREDENTIAL, asked.tenant_id, [str(asked.session_id)])
            await connection.execute(SEEN, asked.tenant_id, user_id)
        return True

    async def _user(self, connection: "Connection", asked: Admission, make: bool) -> UUID | None:
        who = (asked.tenant_id, asked.issuer, asked.subject)
        found: UUID | None = await connection.fetchval(FIND, *who)
        if found is not None or not make or await connection.fetchval(TENANT, asked.tenant_id) is None:
            return found
        await connection.execute(
            MAKE,
            asked.tenant_id,
            asked.username,
            asked.email,
            asked.display_name,
            User.STATE_ACTIVE,
            asked.issuer,
            asked.subject,
        )
        made: UUID | None = await connection.fetchval(FIND, *who)
        return made
