"""Work that goes on for a caller after its call: it acts with a delegated token, for as long as the caller may do it.

Between processes a principal is signed for a minute. Work that may take longer, or that is started again later, asks
for a delegated token while its caller's call is served, keeps the token with the work, and enters `acting` for each
part of the work: a background task for all of it, a workflow for each activity. Inside, it runs as the caller, with its
own name in `act`.
"""

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.mesh.call.call import Call
from services.mesh.call.trace import Trace


class Delegations(Protocol):
    """Has work act for callers."""

    async def delegate(self, actor: str, scopes: Collection[str], seconds: float) -> str:
        """A token with which `actor` acts for the caller of the current call, for at most `seconds`.

        Keep it as a secret is kept: encrypted where it is stored, and never in logs or in the history of a workflow.

        Args:
            actor: what acts, such as `response:resp_1`; it is logged and traced beside the caller.
            scopes: what the work needs. The caller must have all of it, as long as the work goes on.

        Raises:
            PermissionDenied: the caller lacks one of the scopes.
            Unavailable: identity cannot be reached.
        """
        ...

    def acting(
        self, token: str, *, trace: Trace | None = None, timeout: float | None = None
    ) -> AbstractAsyncContextManager[Call]:
        """Run a block as the caller that the token was made for; calls in it need no further scope.

        The block is cancelled, and ends with the error, as soon as the caller may no longer have it done.

        Raises:
            Unauthenticated: the token has expired, or the credential was revoked with which the work was asked for.
            PermissionDenied: the caller has lost a scope that the work needs, or its tenant is suspended.
            Unavailable: identity has not been reached for a minute.
        """
        ...
