"""Delegations without the identity service, for services under test."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from services.mesh.call.call import Call, principal, run_as
from services.mesh.call.principal import Principal
from services.mesh.call.trace import Trace


class UnendingDelegations:
    """`Delegations` whose work goes on until it is done: nobody revokes anything."""

    def __init__(self) -> None:
        self._callers: dict[str, Principal] = {}

    async def delegate(self, actor: str, scopes: Collection[str], seconds: float) -> str:
        """A token of this object."""
        token = f"token {len(self._callers)}"
        self._callers[token] = principal().delegated(actor)
        return token

    @asynccontextmanager
    async def acting(
        self, token: str, *, trace: Trace | None = None, timeout: float | None = None
    ) -> AsyncIterator[Call]:
        """Run a block as the caller of a token."""
        with run_as(self._callers[token], trace=trace, timeout=timeout, inside=True) as call:
            yield call
