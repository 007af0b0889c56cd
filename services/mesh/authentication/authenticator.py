"""Authenticates callers from outside: by the key of a development stack, by the cache, or by asking identity.

Many calls with one credential ask once. What identity cannot be asked about is unavailable, and not refused.
"""

import asyncio
import hmac
import time
from contextvars import Context
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter
from soma.errors.v1 import reasons
from soma.identity.v1.auth_service_pb2 import AuthenticateRequest

from services.mesh.authentication.cache import PrincipalCache, digest
from services.mesh.call import api_key, errors
from services.mesh.call.authenticator import DEV_PRINCIPAL, credential
from services.mesh.call.principal import Principal
from services.mesh.call.token import principal_of

if TYPE_CHECKING:
    from soma.identity.v1.auth_service_pb2_grpc import AuthServiceAsyncStub

log = structlog.get_logger("mesh")

_ASKED = Counter("soma_authentications_total", "Credentials that identity was asked about", ["result"])
# Identity answers in milliseconds; a caller waits no longer for one that does not.
ASK_SECONDS = 3.0
AT_ONCE = 32
RETRY_SECONDS = 1.0
_LONGEST = 16_384


class CachedAuthenticator:
    """Asks identity about credentials that the cache does not have.

    Args:
        identity: the stub of identity.
        cache: keeps the answers.
        dev_key: the key of a development stack; None in other stacks.
    """

    def __init__(self, identity: "AuthServiceAsyncStub", cache: PrincipalCache, dev_key: str | None) -> None:
        self._identity = identity
        self._cache = cache
        self._dev_key = dev_key.encode() if dev_key is not None else None
        self._asking: dict[bytes, asyncio.Task[Principal]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def authenticate(
        self, authorization: str | None, api_key: str | None, source: str | None = None
    ) -> Principal:
        """The principal behind an `Authorization: Bearer …` or an `x-api-key` header from an address.

        Raises:
            Unauthenticated: there is no credential, or it is not valid.
            ResourceExhausted: it is not valid, and too many others were not.
            PermissionDenied: the tenant is suspended, or the user of an outside issuer may not come in.
            Unavailable: identity, or the issuer of the token, cannot be reached, and the credential was not used in the
                last minute.
        """
        given = credential(authorization, api_key)
        if self._dev_key is not None and hmac.compare_digest(given.encode(), self._dev_key):
            return DEV_PRINCIPAL
        key = digest(given)
        kept = self._cache.get(key)
        if kept is None:
            return await asyncio.shield(self._ask(key, AuthenticateRequest(credential=given, source=source or "")))
        if self._cache.is_old(kept):
            self._ask(key, AuthenticateRequest(credential=given, source=source or ""))
        return kept.principal

    async def delegated(self, token: str, *, again: bool = False) -> Principal:
        """Who work acts for that has a delegated token; `again` asks identity even if the answer is kept.

        Raises:
            Unauthenticated: the token is not valid, or the credential was revoked with which the work was asked for.
            PermissionDenied: whoever asked has lost a scope that the work needs, or the tenant is suspended.
            Unavailable: identity cannot be reached, and the answer is not kept.
        """
        key = _delegated_key(token)
        kept = self._cache.get(key)
        if kept is not None and not again:
            return kept.principal
        earlier = self._asking.get(key)
        if again and earlier is not None:
            # It was asked before whatever the reason is to ask again.
            await asyncio.wait((earlier,))
        return await asyncio.shield(self._ask(key, AuthenticateRequest(credential=token, delegated=True)))

    def keeps_delegated(self, token: str) -> bool:
        """Whether it is kept who work acts for that has a delegated token."""
        return self._cache.get(_delegated_key(token)) is not None

    async def close(self) -> None:
        """End what is being asked."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ask(self, key: bytes, request: AuthenticateRequest) -> "asyncio.Task[Principal]":
        """The task that asks about a credential; there is one for all who wait for the same answer."""
        task = self._asking.get(key)
        if task is None:
            # In a context of its own: the answer is for many calls, and the first of them may end before it comes.
            task = self._asking[key] = Context().run(asyncio.create_task, self._asked(key, request))
            task.add_done_callback(lambda done: self._answered(key, done))
        return task

    def _answered(self, key: bytes, task: "asyncio.Task[Principal]") -> None:
        del self._asking[key]
        # Looked at here, because nobody may be waiting for it.
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, errors.MeshError):
            log.error("a credential could not be checked", exc_info=error)

    async def _asked(self, key: bytes, request: AuthenticateRequest) -> Principal:
        given = request.credential
        if len(given) > _LONGEST or (api_key.read(given) is None and given.count(".") != 2):
            raise errors.Unauthenticated("the API key or token is not valid", reason=reasons.CREDENTIAL_INVALID)
        try:
            async with self._slots:
                response = await self._identity.Authenticate(request, timeout=ASK_SECONDS)
        except (errors.Unauthenticated, errors.PermissionDenied):
            _ASKED.labels("refused").inc()
            self._cache.drop(key)
            raise
        except errors.ResourceExhausted:
            _ASKED.labels("throttled").inc()
            raise
        except errors.MeshError as error:
            if error.reason == reasons.ISSUER_UNAVAILABLE:
                _ASKED.labels("issuer_unavailable").inc()
                raise
            _ASKED.labels("unavailable").inc()
            raise errors.Unavailable(
                "the credential cannot be checked now, because identity does not answer",
                reason=reasons.IDENTITY_UNAVAILABLE,
                retry_after=RETRY_SECONDS,
            ) from error
        _ASKED.labels("accepted").inc()
        principal = principal_of(response.principal)
        lasts = response.expire_time.ToNanoseconds() / 1e9 - time.time() if response.HasField("expire_time") else None
        self._cache.put(key, principal, lasts, response.revocation_sequence)
        return principal


def _delegated_key(token: str) -> bytes:
    # With a prefix that no credential has: with a delegated token nobody comes in from outside.
    return digest(f"delegated {token}")
