"""Sessions of people and their refresh tokens, in Postgres."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING
from uuid import UUID

from soma.identity.v1.auth_service_pb2 import Revocation

from services.identity.store.revocations import revoke

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Connection, Database

BEGIN = """
    INSERT INTO identity.session (tenant_id, user_id, expire_time) VALUES ($1, $2, $3) RETURNING session_id
"""
LOGGED_IN = "UPDATE identity.person SET last_login_time = now() WHERE tenant_id = $1 AND user_id = $2"
ADD_TOKEN = "INSERT INTO identity.refresh_token (tenant_id, session_id, digest) VALUES ($1, $2, $3)"
# Two calls with one token wait for each other here; the second one sees that it was used.
FIND = """
    SELECT token.use_time, session.session_id, session.tenant_id, session.user_id, session.expire_time,
        session.end_time, person.state, tenant.state AS tenant_state
    FROM identity.refresh_token AS token
    JOIN identity.session USING (tenant_id, session_id)
    JOIN identity.person ON person.tenant_id = session.tenant_id AND person.user_id = session.user_id
    JOIN identity.tenant ON tenant.tenant_id = session.tenant_id
    WHERE token.digest = $1 FOR UPDATE OF token, session
"""
USE = "UPDATE identity.refresh_token SET use_time = now() WHERE digest = $1"
END = """
    UPDATE identity.session SET end_time = now(), logged_out = $3
    WHERE tenant_id = $1 AND session_id = $2 AND end_time IS NULL RETURNING session_id
"""
END_ALL = """
    UPDATE identity.session SET end_time = now()
    WHERE tenant_id = $1 AND user_id = $2 AND end_time IS NULL AND session_id IS DISTINCT FROM $3::uuid
    RETURNING session_id
"""
SWEEP = """
    DELETE FROM identity.session WHERE (tenant_id, session_id) IN (
        SELECT tenant_id, session_id FROM identity.session WHERE expire_time < now() - make_interval(days => $1)
        ORDER BY expire_time LIMIT 1000
    )
"""


class Refusal(Enum):
    """Why a refresh token gives no new tokens."""

    UNKNOWN = auto()
    REUSED = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class Continued:
    """A session that goes on."""

    session_id: UUID
    tenant_id: str
    user_id: UUID
    expire_time: datetime
    state: int
    tenant_state: int


def digest(token: str) -> bytes:
    """What is stored of a refresh token, which is random."""
    return hashlib.sha256(token.encode()).digest()


class SessionStore:
    """Keeps sessions; each end of a session writes its revocation."""

    def __init__(self, database: "Database") -> None:
        self._tenants = database.tenants
        self._system = database.system

    async def begin(self, tenant_id: str, user_id: UUID, refresh_token: str, expire_time: datetime) -> UUID:
        """A new session with its first refresh token."""
        async with self._tenants.transaction(tenant_id) as connection:
            session_id: UUID = await connection.fetchval(BEGIN, tenant_id, user_id, expire_time)
            await connection.execute(ADD_TOKEN, tenant_id, session_id, digest(refresh_token))
            await connection.execute(LOGGED_IN, tenant_id, user_id)
        return session_id

    async def go_on(self, refresh_token: str, next_token: str, now: datetime) -> Continued | Refusal:
        """Use up a refresh token, and store the next one. A token that was used before ends its session."""
        # The token says nothing about its tenant.
        async with self._system.transaction() as connection:
            row = await connection.fetchrow(FIND, digest(refresh_token))
            if row is None:
                return Refusal.UNKNOWN
            if row["end_time"] is not None or row["expire_time"] <= now:
                return Refusal.ENDED
            if row["use_time"] is not None:
                await _end(connection, row["tenant_id"], row["session_id"])
                return Refusal.REUSED
            await connection.execute(USE, digest(refresh_token))
            await connection.execute(ADD_TOKEN, row["tenant_id"], row["session_id"], digest(next_token))
        return Continued(
            row["session_id"],
            row["tenant_id"],
            row["user_id"],
            row["expire_time"],
            row["state"],
            row["tenant_state"],
        )

    async def log_out(self, tenant_id: str, session_id: UUID) -> None:
        """End a session, but not the work that was asked for in it; one that has ended stays as it is."""
        async with self._tenants.transaction(tenant_id) as connection:
            await _end(connection, tenant_id, session_id, logged_out=True)

    async def sweep(self, days: int) -> None:
        """Delete sessions that expired this many days ago: no work can go on any more that was asked for in them."""
        async with self._system.connection() as connection:
            await connection.execute(SWEEP, days)


async def end_all(connection: "Connection", tenant_id: str, user_id: UUID, but: UUID | None = None) -> None:
    """End all sessions of a person, but for one; in the transaction of the change that is the reason."""
    rows = await connection.fetch(END_ALL, tenant_id, user_id, but)
    await revoke(connection, Revocation.KIND_CREDENTIAL, tenant_id, [str(row["session_id"]) for row in rows])


async def _end(connection: "Connection", tenant_id: str, session_id: UUID, *, logged_out: bool = False) -> None:
    if await connection.fetchval(END, tenant_id, session_id, logged_out) is not None:
        await revoke(connection, Revocation.KIND_CREDENTIAL, tenant_id, [str(session_id)])
