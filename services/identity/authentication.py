"""Who has a credential: an API key of a service account, or an access token of a person's session."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from soma.errors.v1 import reasons
from soma.identity.v1.service_account_service_pb2 import ServiceAccount
from soma.identity.v1.tenant_service_pb2 import Tenant
from soma.identity.v1.user_service_pb2 import User

from services.identity.access_token import AccessTokens
from services.identity.roles import scopes_of
from services.identity.store.credentials import CredentialStore, KeyRow, SessionRow
from services.mesh.call import api_key, errors
from services.mesh.call.principal import PASSWORD_CHANGE, Principal

_NO_DIGEST = bytes(32)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """Who has a credential.

    Attributes:
        expire_time: when the credential expires; None for one that does not.
        sequence: the newest revocation that is taken into account.
    """

    principal: Principal
    expire_time: datetime | None
    sequence: int


class Authentication:
    """Checks credentials.

    `tier` is the one of tenants without one of their own. `on_use` is called with the id of each API key that is right.
    """

    def __init__(
        self, store: CredentialStore, tokens: AccessTokens, tier: str, on_use: Callable[[str, datetime], None]
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._tier = tier
        self._on_use = on_use

    async def authenticate(self, credential: str) -> Authenticated:
        """The caller with this credential.

        Raises:
            Unauthenticated: it is not valid, was revoked, or has expired.
            PermissionDenied: the tenant is suspended.
            Unavailable: the database cannot be reached.
        """
        now = datetime.now(UTC)
        key = api_key.read(credential)
        if key is not None:
            return self._of_key(key, await self._store.key(key.key_id), now)
        if credential.count(".") == 2:
            claims = self._tokens.read(credential, now)
            row = await self._store.session(claims.session_id, claims.tenant_id, claims.user_id)
            return self._of_session(row, str(claims.session_id), claims.expire_time, now)
        raise _invalid()

    def _of_key(self, key: api_key.ApiKey, row: KeyRow | None, now: datetime) -> Authenticated:
        # Compared for an unknown id as well, so that the time does not tell which ids there are.
        right = hmac.compare_digest(key.digest, row.digest if row is not None else _NO_DIGEST)
        if row is None or not right:
            raise _invalid()
        if row.revoke_time is not None or row.state != ServiceAccount.STATE_ACTIVE:
            raise _revoked("the API key was revoked")
        if row.expire_time is not None and row.expire_time <= now:
            raise errors.Unauthenticated("the API key has expired", reason=reasons.CREDENTIAL_EXPIRED)
        _require_active(row.tenant_state)
        self._on_use(key.key_id, now)
        principal = Principal(
            tenant_id=row.tenant_id,
            subject=str(row.service_account_id),
            scopes=frozenset(row.scopes),
            credential_id=key.key_id,
            tier=row.tier or row.tenant_tier or self._tier,
        )
        return Authenticated(principal, row.expire_time, row.sequence)

    def _of_session(
        self, row: SessionRow | None, session_id: str, expire_time: datetime, now: datetime
    ) -> Authenticated:
        if row is None or row.end_time is not None or row.state != User.STATE_ACTIVE:
            raise _revoked("the session has ended; log in again")
        if row.expire_time <= now:
            raise errors.Unauthenticated("the session has expired; log in again", reason=reasons.TOKEN_EXPIRED)
        _require_active(row.tenant_state)
        # Until the password is changed, the person may do only what needs no scope.
        roles = (PASSWORD_CHANGE,) if row.must_change_password else tuple(row.roles)
        principal = Principal(
            tenant_id=row.tenant_id,
            subject=str(row.user_id),
            roles=roles,
            scopes=frozenset() if row.must_change_password else scopes_of(roles, row.own_roles or {}),
            credential_id=session_id,
            tier=row.tenant_tier or self._tier,
        )
        return Authenticated(principal, min(expire_time, row.expire_time), row.sequence)


def _require_active(tenant_state: int) -> None:
    if tenant_state != Tenant.STATE_ACTIVE:
        raise errors.PermissionDenied("the tenant is suspended", reason=reasons.TENANT_SUSPENDED)


def _invalid() -> errors.Unauthenticated:
    return errors.Unauthenticated("the API key or token is not valid", reason=reasons.CREDENTIAL_INVALID)


def _revoked(message: str) -> errors.Unauthenticated:
    return errors.Unauthenticated(message, reason=reasons.CREDENTIAL_REVOKED)
