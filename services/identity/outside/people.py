"""People who come with a token of an outside issuer: their user, and the session of each token."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from soma.errors.v1 import reasons

from services.identity import jws
from services.identity.jws import Jws
from services.identity.outside import token
from services.identity.outside.issuer_keys import IssuerKeys
from services.identity.outside.settings import Issuer
from services.identity.own_token import invalid
from services.identity.store.credentials import CredentialStore, SessionRow
from services.identity.store.outside import Admission, OutsideStore
from services.mesh.call import errors

log = structlog.get_logger("identity")

_PLAIN_SUBJECT = re.compile(r"[a-z0-9][a-z0-9._@+|-]{0,47}")
_LONGEST_TEXT = 256


@dataclass(frozen=True, slots=True)
class OutsideSession:
    """The session of a token: its row in the database, and until when the token is valid."""

    session_id: UUID
    expire_time: datetime
    row: SessionRow


class OutsidePeople:
    """Lets people of issuers in; `changed` is called after something was revoked."""

    def __init__(
        self,
        issuers: Mapping[str, Issuer],
        keys: Mapping[str, IssuerKeys],
        store: OutsideStore,
        credentials: CredentialStore,
        changed: Callable[[], None],
    ) -> None:
        self._issuers = issuers
        self._names = {issuer.url: name for name, issuer in issuers.items()}
        self._keys = keys
        self._store = store
        self._credentials = credentials
        self._changed = changed

    def made(self, credential: str) -> tuple[str, Jws] | None:
        """The name of the issuer that a token says has made it, and its parts; None for any other credential."""
        if not self._issuers:
            return None
        try:
            given = jws.read(credential)
        except jws.Malformed:
            return None
        url = token.issuer_of(given)
        name = self._names.get(url) if isinstance(url, str) else None
        return None if name is None else (name, given)

    async def session(self, name: str, given: Jws, now: datetime) -> OutsideSession:
        """The session of a token of an issuer; its user is made when it comes for the first time.

        Raises:
            Unauthenticated: the token is not valid.
            PermissionDenied: its user has no tenant here, or no user is made for it.
            Unavailable: the issuer or the database cannot be reached.
        """
        issuer = self._issuers[name]
        checked = await token.check(given, issuer, self._keys[name], now)
        tenant_id = issuer.tenant_of(checked.claims)
        if tenant_id is None:
            raise _refused("the token of this user names no tenant of this mesh")
        roles = issuer.roles_of(checked.claims)
        # Of what is signed: some signatures have a second form that is as valid as the first one.
        session_id = UUID(bytes=hashlib.sha256(given.signed).digest()[:16], version=5)
        row = await self._credentials.session(session_id, tenant_id)
        if row is None or list(row.claimed_roles) != list(roles):
            asked = Admission(
                tenant_id=tenant_id,
                issuer=name,
                subject=checked.subject,
                session_id=session_id,
                expire_time=checked.expire_time,
                roles=roles,
                username=_username(name, checked.subject),
                email=_text(checked.claims, "email"),
                display_name=_text(checked.claims, "name"),
            )
            if not await self._store.admit(asked, make=issuer.make_users):
                raise _refused("this user is not known here, and the settings make no users of this issuer")
            self._changed()
            log.info("an outside user came in", tenant_id=tenant_id, issuer=name, session_id=str(session_id))
            row = await self._credentials.session(session_id, tenant_id)
        if row is None:
            raise invalid("its user was deleted")
        return OutsideSession(session_id, checked.expire_time, row)


def _username(issuer: str, subject: str) -> str:
    """A name that no other user has: those with a password have no colon in theirs."""
    plain = (
        subject
        if _PLAIN_SUBJECT.fullmatch(subject)
        else hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()
    )
    return f"{issuer}:{plain}"


def _text(claims: Mapping[str, Any], name: str) -> str:
    text = claims.get(name)
    return text[:_LONGEST_TEXT].replace("\0", "") if isinstance(text, str) else ""


def _refused(why: str) -> errors.PermissionDenied:
    return errors.PermissionDenied(why, reason=reasons.USER_NOT_ADMITTED)
