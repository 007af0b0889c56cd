"""Delegated tokens by identity: asks for them, and ends the work of those that are revoked."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from math import ceil
from typing import TYPE_CHECKING

import structlog
from soma.identity.v1.auth_service_pb2 import DelegateRequest

from services.mesh.authentication.authenticator import ASK_SECONDS, CachedAuthenticator
from services.mesh.authentication.cache import FRESH_SECONDS, KEPT_SECONDS, PrincipalCache
from services.mesh.call import errors
from services.mesh.call.call import Call, run_as
from services.mesh.call.trace import Trace

if TYPE_CHECKING:
    from soma.identity.v1.auth_service_pb2_grpc import AuthServiceAsyncStub

log = structlog.get_logger("mesh")

_RETRY_SECONDS = 1.0


class IdentityDelegations:
    """`Delegations` over the identity service, and the authenticator and the cache of this process."""

    def __init__(
        self, identity: "AuthServiceAsyncStub", authenticator: CachedAuthenticator, cache: PrincipalCache
    ) -> None:
        self._identity = identity
        self._authenticator = authenticator
        self._cache = cache

    async def delegate(self, actor: str, scopes: Collection[str], seconds: float) -> str:
        """A token with which `actor` acts for the caller of the current call, for at most `seconds`.

        Raises:
            PermissionDenied: the caller lacks one of the scopes.
            Unavailable: identity cannot be reached.
        """
        request = DelegateRequest(actor=actor, scopes=sorted(scopes), lifetime_seconds=ceil(seconds))
        return (await self._identity.Delegate(request, timeout=ASK_SECONDS)).delegated_token

    @asynccontextmanager
    async def acting(
        self, token: str, *, trace: Trace | None = None, timeout: float | None = None
    ) -> AsyncIterator[Call]:
        """Run a block as the caller that the token was made for, until it is done or the token is refused.

        Raises:
            Unauthenticated: the token has expired, or the credential was revoked with which the work was asked for.
            PermissionDenied: the caller has lost a scope that the work needs, or its tenant is suspended.
            Unavailable: identity has not been reached for a minute.
        """
        who = await self._authenticator.delegated(token)
        # In a context of its own: the question is the mesh's, and not the caller's.
        revoked = asyncio.Event()
        watching = Context().run(asyncio.create_task, self._refused(token, revoked))
        block = asyncio.timeout(None)

        def ended(task: "asyncio.Task[errors.MeshError]") -> None:
            if not task.cancelled():
                block.reschedule(asyncio.get_running_loop().time())

        try:
            async with block:
                watching.add_done_callback(ended)
                with (
                    self._cache.watching(who, revoked),
                    run_as(who, trace=trace, timeout=timeout, inside=True) as call,
                ):
                    if not self._authenticator.keeps_delegated(token):
                        # It was revoked before the watch began.
                        revoked.set()
                    yield call
        except TimeoutError:
            if not block.expired():
                raise
            error = watching.result()
            log.info("work ended", tenant=who.tenant_id, subject=who.subject, act=who.act, reason=error.reason)
            raise error from None
        finally:
            watching.remove_done_callback(ended)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _refused(self, token: str, revoked: asyncio.Event) -> errors.MeshError:
        """Wait until the token is refused, or identity has not said for a minute whether it is; returns why.

        `revoked` is set whenever something changed that the token depends on.
        """
        loop = asyncio.get_running_loop()
        sure_until, pause = loop.time() + KEPT_SECONDS, FRESH_SECONDS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await revoked.wait()
            revoked.clear()
            try:
                await self._authenticator.delegated(token, again=True)
                sure_until, pause = loop.time() + KEPT_SECONDS, FRESH_SECONDS
            except (errors.Unauthenticated, errors.PermissionDenied) as error:
                return error
            except errors.MeshError as error:
                if loop.time() >= sure_until:
                    return error
                pause = _RETRY_SECONDS
