"""Sessions of people: from a password to tokens, from tokens to newer ones, to the end."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from soma.errors.v1 import reasons
from soma.identity.v1 import auth_service_pb2 as pb
from soma.identity.v1.tenant_service_pb2 import Tenant
from soma.identity.v1.user_service_pb2 import User

from services.identity.access_token import AccessTokens
from services.identity.passwords import Passwords
from services.identity.store.attempts import Attempt, Attempts
from services.identity.store.people import PeopleStore
from services.identity.store.sessions import Refusal, SessionStore
from services.mesh.call import errors
from services.mesh.call.principal import OPERATOR, Principal

log = structlog.get_logger("identity")

BEARER = "Bearer"


class Sessions:
    """Begins, continues and ends sessions; `changed` is called after something was revoked."""

    def __init__(
        self,
        sessions: SessionStore,
        people: PeopleStore,
        passwords: Passwords,
        attempts: Attempts,
        tokens: AccessTokens,
        lasts: timedelta,
        changed: Callable[[], None],
    ) -> None:
        self._sessions = sessions
        self._people = people
        self._passwords = passwords
        self._attempts = attempts
        self._tokens = tokens
        self._lasts = lasts
        self._changed = changed

    async def login(self, request: pb.LoginRequest, source: str) -> pb.LoginResponse:
        """The tokens of a new session; `source` is the address that the request came from, empty if it is not known.

        Raises:
            Unauthenticated: the name or the password is wrong, or the user or the tenant may not log in.
            ResourceExhausted: there were too many attempts.
        """
        tenant_id, name = request.tenant_id or OPERATOR, request.username
        attempt = Attempt(tenant_id, name, source)
        await self._attempts.begin(attempt)
        person = await self._people.login(tenant_id, name)
        right = await self._passwords.matches(request.password, person.password if person is not None else None)
        if (
            person is None
            or not right
            or person.public.state != User.STATE_ACTIVE
            or person.tenant_state != Tenant.STATE_ACTIVE
        ):
            await self._attempts.failed(attempt)
            log.info("login refused", tenant_id=tenant_id)
            raise errors.Unauthenticated("the username or the password is wrong", reason=reasons.LOGIN_REFUSED)
        await self._attempts.succeeded(attempt)
        now, refresh_token = datetime.now(UTC), secrets.token_urlsafe(32)
        user_id = UUID(person.public.user_id)
        session_id = await self._sessions.begin(tenant_id, user_id, refresh_token, now + self._lasts)
        log.info("logged in", tenant_id=tenant_id, user_id=str(user_id), session_id=str(session_id))
        return pb.LoginResponse(
            access_token=self._tokens.write(tenant_id, user_id, session_id, now),
            token_type=BEARER,
            expires_in=round(self._tokens.lifetime.total_seconds()),
            refresh_token=refresh_token,
            refresh_expires_in=round(self._lasts.total_seconds()),
            tenant_id=tenant_id,
            user_id=str(user_id),
            must_change_password=person.public.must_change_password,
        )

    async def refresh(self, refresh_token: str) -> pb.RefreshResponse:
        """The next tokens of a session.

        Raises:
            Unauthenticated: the token is not valid, or was used before, which ends the session.
        """
        now, next_token = datetime.now(UTC), secrets.token_urlsafe(32)
        found = await self._sessions.go_on(refresh_token, next_token, now)
        if found is Refusal.REUSED:
            self._changed()
            log.warning("a refresh token was used twice, so its session has ended")
            raise errors.Unauthenticated(
                "this refresh token was used before, so its session has ended; log in again",
                reason=reasons.REFRESH_TOKEN_REUSED,
            )
        if isinstance(found, Refusal) or found.state != User.STATE_ACTIVE or found.tenant_state != Tenant.STATE_ACTIVE:
            raise errors.Unauthenticated(
                "the refresh token is not valid any more; log in again", reason=reasons.REFRESH_TOKEN_INVALID
            )
        return pb.RefreshResponse(
            access_token=self._tokens.write(found.tenant_id, found.user_id, found.session_id, now),
            token_type=BEARER,
            expires_in=round(self._tokens.lifetime.total_seconds()),
            refresh_token=next_token,
            refresh_expires_in=round((found.expire_time - now).total_seconds()),
        )

    async def logout(self, caller: Principal) -> None:
        """End the session that the caller's token belongs to.

        Raises:
            PermissionDenied: the caller has no session, because it came with an API key.
        """
        session_id = session_of(caller)
        await self._sessions.log_out(caller.tenant_id, session_id)
        self._changed()


def session_of(caller: Principal) -> UUID:
    """The session of a caller who logged in.

    Raises:
        PermissionDenied: the caller came with an API key.
    """
    try:
        return UUID(caller.credential_id)
    except ValueError:
        raise errors.PermissionDenied(
            "this is for people who logged in, and you came with an API key", reason=reasons.USER_NEEDED
        ) from None
