"""Connections to Postgres whose statements have a scope: a setting of their transaction, such as the tenant."""

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import asyncpg

# What the policies read. A transaction has the tenant that its statements may see, or, where one role has both jobs,
# that it is for all tenants.
TENANT_SETTING = "soma.tenant"
EVERY_TENANT_SETTING = "soma.every_tenant"
EVERY_TENANT = "on"

# It returns no row: its answer is then no part of the answer of the statement that it is sent with.
_SCOPE = "SELECT WHERE set_config($1, $2, true) IS NULL"
_SCOPE_NAME = "soma_scope"


class ScopedConnection(asyncpg.Connection[asyncpg.Record] if TYPE_CHECKING else asyncpg.Connection):  # type: ignore[misc]
    """A connection without session state: nothing has to be reset.

    Its statements can have a scope: a setting of their transaction, such as the tenant. It is sent in one packet with
    the statement, as a prepared statement of its own before it, without the Sync that would end the transaction (the
    protocol calls that a pipeline). So it takes no round trip, and Postgres itself takes it back when the transaction
    of the statement ends: no other statement, of whichever client of a pooler, ever runs with it.
    """

    _scope = b""
    _once = False
    # How many statements were sent before the last scope.
    _before: int | None = None

    def get_reset_query(self) -> str:
        return ""

    def begin_scope(self, scope: bytes, *, once: bool) -> "ScopedConnection":
        """Run statements in a scope until `end_scope`, which is a method of the result.

        Args:
            scope: as `scope_of` makes it.
            once: send it with the first statement only, because all are one transaction.
        """
        self._scope, self._once, self._before = scope, once, None
        return self

    async def end_scope(self) -> None:
        """Run statements without a scope again."""
        self._scope = b""
        if self._before == self._protocol.queries_count and not self._once and not self.is_closed():
            # asyncpg has refused the arguments of the last statement. An empty one ends what its scope has begun.
            await self.execute("")

    async def prepare_scope(self) -> None:
        """Have the server know the statement that sets a scope."""
        # The connection keeps it: the server is told to forget statements that nobody refers to.
        self._prepared_scope = await self.prepare(_SCOPE, name=_SCOPE_NAME)

    async def _get_statement(self, *args: Any, **options: Any) -> Any:
        # asyncpg calls this before each statement with parameters or a result, and then sends it at once.
        statement = await super()._get_statement(*args, **options)
        if self._scope:
            self._before = self._protocol.queries_count
            self._transport.write(self._scope)
            if self._once:
                self._scope = b""
        return statement


@lru_cache(maxsize=4096)
def scope_of(setting: str, value: str) -> bytes:
    """The messages Bind and Execute of the statement that sets a scope."""
    parameters = b"".join(struct.pack("!i", len(text)) + text for text in (setting.encode(), value.encode()))
    # The unnamed portal; parameters in the text format; no result formats.
    bind = b"\0" + _SCOPE_NAME.encode() + b"\0" + struct.pack("!hh", 0, 2) + parameters + struct.pack("!h", 0)
    execute = b"\0" + struct.pack("!i", 0)
    return b"B" + struct.pack("!i", len(bind) + 4) + bind + b"E" + struct.pack("!i", len(execute) + 4) + execute
