"""Who has a credential: an API key of a service account, or an access token of a person's session."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from soma.errors.v1 import reasons
from soma.identity.v1.service_account_service_pb2 import ServiceAccount
from soma.identity.v1.tenant_service_pb2 import Tenant
from soma.identity.v1.user_service_pb2 import User

from services.identity.access_token import AccessTokens
from services.identity.delegated_token import DelegatedTokens, Delegation
from services.identity.guesses import Guesses
from services.identity.outside.people import OutsidePeople
from services.identity.roles import scopes_of
from services.identity.store.credentials import CredentialStore, KeyRow, SessionRow
from services.mesh.call import api_key, errors
from services.mesh.call.authenticator import DEV_PRINCIPAL
from services.mesh.call.principal import PASSWORD_CHANGE, Principal, uncovered

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

    Args:
        outside: who has a token of an outside issuer.
        tier: the one of tenants without one of their own.
        on_use: called with the id of each API key that is right.
        development: whether the stack has the key of a development stack, which this service does not keep.
    """

    def __init__(
        self,
        store: CredentialStore,
        tokens: AccessTokens,
        delegated: DelegatedTokens,
        outside: OutsidePeople,
        guesses: Guesses,
        tier: str,
        on_use: Callable[[str, datetime], None],
        development: Callable[[], bool],
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._delegated = delegated
        self._outside = outside
        self._guesses = guesses
        self._tier = tier
        self._on_use = on_use
        self._development = development

    async def authenticate(self, credential: str, source: str) -> Authenticated:
        """The caller with this credential, which came from an address.

        Raises:
            Unauthenticated: it is not valid, was revoked, or has expired.
            ResourceExhausted: it is not valid, and there were too many others that were not.
            PermissionDenied: the tenant is suspended, or the user of an outside issuer may not come in.
            Unavailable: the database, or an outside issuer, cannot be reached.
        """
        now = datetime.now(UTC)
        key = api_key.read(credential)
        if key is not None:
            with self._guesses.counted(source, key.key_id):
                return self._of_key(key, await self._store.key(key.key_id), now)
        if credential.count(".") == 2:
            with self._guesses.counted(source):
                return await self._of_token(credential, now)
        raise _invalid()

    async def delegated(self, token: str) -> Authenticated:
        """Whose work goes on with a delegated token, if whoever asked for it still may have it done.

        That the key or the session has expired since does not matter: whose it was, still may do it.

        Raises:
            Unauthenticated: the token is not valid, or the credential was revoked with which it was asked for.
            PermissionDenied: whoever asked has lost a scope that the work needs, or the tenant is suspended.
            Unavailable: the database cannot be reached.
        """
        asked = self._delegated.read(token, datetime.now(UTC))
        if not asked.credential_id:
            return self._for_developer(asked)
        try:
            session_id, user_id = UUID(asked.credential_id), UUID(asked.subject)
        except ValueError:
            return self._for_account(asked, await self._store.key(asked.credential_id))
        row = await self._store.session(session_id, asked.tenant_id, user_id)
        if row is None:
            # An account has an id of the same form, and its keys have not.
            raise _revoked("the session has ended in which the work was asked for")
        return self._for_person(asked, row)

    def _for_developer(self, asked: Delegation) -> Authenticated:
        if (asked.tenant_id, asked.subject) != (DEV_PRINCIPAL.tenant_id, DEV_PRINCIPAL.subject):
            raise _revoked("nobody has asked for the work")
        if not self._development():
            raise _revoked("the development key was deleted")
        return Authenticated(_acting(asked, DEV_PRINCIPAL.tier), asked.expire_time, 0)

    def _for_account(self, asked: Delegation, row: KeyRow | None) -> Authenticated:
        if row is None or (row.tenant_id, str(row.service_account_id)) != (asked.tenant_id, asked.subject):
            raise _revoked("the API key was deleted with which the work was asked for")
        _require_key(row)
        _require_active(row.tenant_state)
        _require_scopes(asked, frozenset(row.scopes))
        return Authenticated(_acting(asked, self._tier_of_key(row)), asked.expire_time, row.sequence)

    def _for_person(self, asked: Delegation, row: SessionRow) -> Authenticated:
        if (row.end_time is not None and not row.logged_out) or row.state != User.STATE_ACTIVE:
            raise _revoked("the session was ended in which the work was asked for")
        _require_active(row.tenant_state)
        _require_scopes(asked, _scopes(row))
        return Authenticated(_acting(asked, row.tenant_tier or self._tier), asked.expire_time, row.sequence)

    def _of_key(self, key: api_key.ApiKey, row: KeyRow | None, now: datetime) -> Authenticated:
        # Compared for an unknown id as well, so that the time does not tell which ids there are.
        right = hmac.compare_digest(key.digest, row.digest if row is not None else _NO_DIGEST)
        if row is None or not right:
            raise _invalid()
        _require_key(row)
        if row.expire_time is not None and row.expire_time <= now:
            raise errors.Unauthenticated("the API key has expired", reason=reasons.CREDENTIAL_EXPIRED)
        _require_active(row.tenant_state)
        self._on_use(key.key_id, now)
        principal = Principal(
            tenant_id=row.tenant_id,
            subject=str(row.service_account_id),
            scopes=frozenset(row.scopes),
            credential_id=key.key_id,
            tier=self._tier_of_key(row),
        )
        return Authenticated(principal, row.expire_time, row.sequence)

    async def _of_token(self, token: str, now: datetime) -> Authenticated:
        made = self._outside.made(token)
        if made is not None:
            found = await self._outside.session(*made, now)
            return self._of_session(found.row, found.session_id, found.expire_time, now)
        claims = self._tokens.read(token, now)
        row = await self._store.session(claims.session_id, claims.tenant_id, claims.user_id)
        return self._of_session(row, claims.session_id, claims.expire_time, now)

    def _of_session(
        self, row: SessionRow | None, session_id: UUID, expire_time: datetime, now: datetime
    ) -> Authenticated:
        if row is None or row.end_time is not None or row.state != User.STATE_ACTIVE:
            raise _revoked("the session has ended; log in again")
        if row.expire_time <= now:
            raise errors.Unauthenticated("the session has expired; log in again", reason=reasons.TOKEN_EXPIRED)
        _require_active(row.tenant_state)
        # Until the password is changed, the person may do only what needs no scope.
        roles = (PASSWORD_CHANGE,) if row.must_change_password else (*row.roles, *row.claimed_roles)
        principal = Principal(
            tenant_id=row.tenant_id,
            subject=str(row.user_id),
            roles=tuple(dict.fromkeys(roles)),
            scopes=_scopes(row),
            credential_id=str(session_id),
            tier=row.tenant_tier or self._tier,
        )
        return Authenticated(principal, min(expire_time, row.expire_time), row.sequence)

    def _tier_of_key(self, row: KeyRow) -> str:
        return row.tier or row.tenant_tier or self._tier


def _scopes(row: SessionRow) -> frozenset[str]:
    if row.must_change_password:
        return frozenset()
    return scopes_of((*row.roles, *row.claimed_roles), row.own_roles or {})


def _acting(asked: Delegation, tier: str) -> Principal:
    return Principal(
        tenant_id=asked.tenant_id,
        subject=asked.subject,
        scopes=asked.scopes,
        credential_id=asked.credential_id,
        tier=tier,
        act=asked.act,
    )


def _require_key(row: KeyRow) -> None:
    if row.revoke_time is not None or row.state != ServiceAccount.STATE_ACTIVE:
        raise _revoked("the API key was revoked")


def _require_scopes(asked: Delegation, held: frozenset[str]) -> None:
    missing = uncovered(sorted(asked.scopes), held)
    if missing is not None:
        raise errors.PermissionDenied(
            f"whoever asked for this work has no longer the scope {missing}, which it needs",
            reason=reasons.DELEGATION_ENDED,
            metadata={"scope": missing},
        )


def _require_active(tenant_state: int) -> None:
    if tenant_state != Tenant.STATE_ACTIVE:
        raise errors.PermissionDenied("the tenant is suspended", reason=reasons.TENANT_SUSPENDED)


def _invalid() -> errors.Unauthenticated:
    return errors.Unauthenticated("the API key or token is not valid", reason=reasons.CREDENTIAL_INVALID)


def _revoked(message: str) -> errors.Unauthenticated:
    return errors.Unauthenticated(message, reason=reasons.CREDENTIAL_REVOKED)
