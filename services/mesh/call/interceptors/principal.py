"""Authenticates a call once and checks the method's authorisation rule.

A call from the same process inherits the principal of its caller; a call from another process carries a signed one;
a call from outside has a credential. Only the first two may reach internal methods.

The scope is checked where a caller comes in: at the RPC that it calls itself. What the servicer of that RPC calls for
it needs no scope of its own, so that a key for chats need not have rights on policy, models and memory.
"""

from collections.abc import Awaitable

from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.authenticator import SOURCE, Authenticator, Limiter
from services.mesh.call.call import Call
from services.mesh.call.hooks import Enter, Hooks, Interceptor
from services.mesh.call.method import Access, Method
from services.mesh.call.principal import PASSWORD_CHANGE, Principal
from services.mesh.call.token import METADATA_KEY, Signer


def principal(authenticator: Authenticator, limiter: Limiter, signer: Signer) -> Interceptor:
    """Interceptor over an authenticator and a limiter for outside, and a signer for inside."""

    def bind(rpc: Method) -> Hooks:
        return Hooks(enter=_entry(rpc, authenticator, limiter, signer))

    return bind


def _entry(rpc: Method, authenticator: Authenticator, limiter: Limiter, signer: Signer) -> Enter | None:
    if rpc.access is Access.OPEN:
        return None
    kind = rpc.scope.partition(":")[0] or "account"
    internal, any_principal, grants = rpc.access is Access.INTERNAL, rpc.access is Access.AUTHENTICATED, rpc.grants

    def enter(call: Call) -> Awaitable[None] | None:
        if call.local:
            caller = call.caller
            if caller is not None:
                call.principal = caller.principal
            if not internal:
                check(call, inside=caller is not None and caller.inside)
            return None
        token = call.metadata.get(METADATA_KEY)
        if token is not None:
            call.principal, inside = signer.verify(str(token))
            if not internal:
                check(call, inside=inside)
            return None
        if internal:
            raise errors.PermissionDenied(f"{rpc.path} is for the mesh's own processes", reason=reasons.METHOD_INTERNAL)
        return outside(call, _text(call, "authorization"), _text(call, "x-api-key"), _text(call, SOURCE))

    async def outside(call: Call, authorization: str | None, api_key: str | None, source: str | None) -> None:
        call.principal = await authenticator.authenticate(authorization, api_key, source)
        check(call, inside=False)
        call.spent = await limiter.spend(call.principal, kind)

    def check(call: Call, *, inside: bool) -> None:
        if call.principal is None:
            raise errors.Unauthenticated(f"{rpc.path} needs a principal")
        if not any_principal and not inside and call.principal.scopes.isdisjoint(grants):
            raise _refused(rpc, call.principal)

    return enter


def _refused(rpc: Method, caller: Principal) -> errors.PermissionDenied:
    if PASSWORD_CHANGE in caller.roles:
        return errors.PermissionDenied(
            "change your password first: POST /v1/auth/password, or soma login", reason=reasons.PASSWORD_CHANGE_REQUIRED
        )
    return errors.PermissionDenied(f"{rpc.path} needs the scope {rpc.scope}", metadata={"scope": rpc.scope})


def _text(call: Call, key: str) -> str | None:
    value = call.metadata.get(key)
    return None if value is None else str(value)
