"""Delegations: work that goes on for somebody, with no more than that somebody may do."""

from datetime import UTC, datetime, timedelta

import structlog
from soma.identity.v1 import auth_service_pb2 as pb

from services.identity.delegated_token import DelegatedTokens, Delegation
from services.identity.roles import require_held
from services.mesh.call import errors
from services.mesh.call.authenticator import DEV_PRINCIPAL
from services.mesh.call.principal import Principal
from services.mesh.call.timestamp import timestamp

log = structlog.get_logger("identity")

# As many as the contract of a principal allows.
MOST_ACTORS = 16
_DEVELOPER = (DEV_PRINCIPAL.tenant_id, DEV_PRINCIPAL.subject)


class Delegations:
    """Makes delegated tokens, which are valid for at most `longest`."""

    def __init__(self, tokens: DelegatedTokens, longest: timedelta) -> None:
        self._tokens = tokens
        self._longest = longest

    def delegate(self, caller: Principal, request: pb.DelegateRequest) -> pb.DelegateResponse:
        """A token with which an actor acts for the caller.

        Raises:
            PermissionDenied: the caller lacks one of the scopes, or is a process on its own behalf.
            FailedPrecondition: too many have asked each other already.
            Unavailable: no key signs yet.
        """
        require_held(caller, request.scopes, "the work needs")
        if not caller.credential_id and (caller.tenant_id, caller.subject) != _DEVELOPER:
            raise errors.PermissionDenied("a process that acts on its own behalf has nothing to delegate")
        if len(caller.act) >= MOST_ACTORS:
            raise errors.FailedPrecondition(f"{MOST_ACTORS} have asked each other already for this work")
        now = datetime.now(UTC)
        given = Delegation(
            tenant_id=caller.tenant_id,
            subject=caller.subject,
            credential_id=caller.credential_id,
            scopes=frozenset(request.scopes),
            act=(request.actor, *caller.act),
            expire_time=now + min(timedelta(seconds=request.lifetime_seconds), self._longest),
        )
        token = self._tokens.write(given, now)
        log.info("delegated", tenant_id=given.tenant_id, subject=given.subject, act=given.act)
        return pb.DelegateResponse(delegated_token=token, expire_time=timestamp(given.expire_time))
