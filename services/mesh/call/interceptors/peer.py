"""Checks which process a call comes from, where processes have certificates."""

from typing import Any

import structlog
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.call import Call
from services.mesh.call.hooks import Hooks, Interceptor
from services.mesh.call.method import Method
from services.mesh.call.process_name import SPIFFE_ID, Allowed, name_in

log = structlog.get_logger("tls")


def peer(allowed: Allowed) -> Interceptor:
    """Interceptor that lets in processes whose name is allowed; a call inside the process comes from itself."""

    def enter(call: Call) -> None:
        if call.local:
            return
        context: Any = call.context
        identities = [value.decode() for value in context.auth_context().get(SPIFFE_ID, ())]
        if not any(allowed(name_in(identity)) for identity in identities):
            log.warning("peer refused", reason=reasons.PEER_NOT_ALLOWED, peer=identities, address=context.peer())
            raise errors.PermissionDenied("this process may not be called by you", reason=reasons.PEER_NOT_ALLOWED)

    def bind(_: Method) -> Hooks:
        return Hooks(enter=enter)

    return bind
