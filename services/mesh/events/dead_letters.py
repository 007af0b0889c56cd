"""The dead letters of tenants, in Postgres: they can be listed and replayed."""

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from soma.errors.v1 import reasons
from soma.mesh.v1 import event_service_pb2 as pb

from services.mesh.call import errors, page_token

if TYPE_CHECKING:
    import asyncpg

    from services.mesh.stores.postgres import TenantPool

PAGE_SIZE = 50

_LIST = """
    SELECT * FROM mesh.dead_letter
    WHERE tenant_id = $1 AND state <> 'handled' AND ($2 = '' OR consumer = $2) AND ($3 = '' OR type = $3)
        AND ($4::timestamptz IS NULL OR (create_time, id) < ($4, $5::uuid))
    ORDER BY create_time DESC, id DESC LIMIT $6
"""
_GET = "SELECT * FROM mesh.dead_letter WHERE tenant_id = $1 AND id = $2 FOR UPDATE"
_REPLAY = "UPDATE mesh.dead_letter SET state = 'replaying' WHERE tenant_id = $1 AND id = $2 RETURNING *"
_FORGET_MARK = "DELETE FROM mesh.consumed WHERE consumer = $1 AND event_id = $2"
# The area is one that a service declares; the event came from the outbox of that service.
_PUT_BACK = "INSERT INTO {area}.outbox (tenant_id, aggregate, event, consumer) VALUES ($1, '', $2, $3)"
_STATES = {
    "dead": pb.DeadLetter.STATE_DEAD,
    "replaying": pb.DeadLetter.STATE_REPLAYING,
    "handled": pb.DeadLetter.STATE_HANDLED,
}


class DeadLetters:
    """Dead letters in the schema `mesh`."""

    def __init__(self, pool: "TenantPool") -> None:
        self._pool = pool

    async def page(self, tenant_id: str, request: pb.ListDeadLettersRequest) -> pb.ListDeadLettersResponse:
        """A page of a tenant's dead letters that are not handled, the newest first.

        Raises:
            InvalidArgument: the page token was not made for this list.
            Unavailable: Postgres is away.
        """
        size = request.page_size or PAGE_SIZE
        after = page_token.read(request, datetime, UUID) or (None, None)
        async with self._pool.connection(tenant_id) as connection:
            rows = await connection.fetch(_LIST, tenant_id, request.consumer, request.type, *after, size + 1)
        letters, token = page_token.cut(request, rows, size, lambda last: (last["create_time"], UUID(str(last["id"]))))
        return pb.ListDeadLettersResponse(dead_letters=map(_letter, letters), next_page_token=token)

    async def replay(self, tenant_id: str, dead_letter_id: str) -> pb.DeadLetter:
        """Put an event back into the outbox of its area, for its consumer alone; do nothing if that was done already.

        Raises:
            NotFound: the tenant has no such dead letter.
            Unavailable: Postgres is away.
        """
        async with self._pool.transaction(tenant_id) as connection:
            row = await connection.fetchrow(_GET, tenant_id, dead_letter_id)
            if row is None:
                raise errors.NotFound(
                    f"there is no dead letter {dead_letter_id}; soma events lists those there are",
                    reason=reasons.DEAD_LETTER_NOT_FOUND,
                    metadata={"dead_letter_id": dead_letter_id},
                )
            if row["state"] == "dead":
                await connection.execute(_FORGET_MARK, row["consumer"], row["event_id"])
                put_back = _PUT_BACK.format(area=row["area"])
                await connection.execute(put_back, tenant_id, row["event"], row["consumer"])
                row = await connection.fetchrow(_REPLAY, tenant_id, row["id"])
                assert row is not None
        return _letter(row)


def _letter(row: "asyncpg.Record") -> pb.DeadLetter:
    letter = pb.DeadLetter(
        dead_letter_id=str(row["id"]),
        consumer=row["consumer"],
        type=row["type"],
        event_id=row["event_id"],
        reason=row["reason"],
        error=row["error"],
        attempts=row["attempts"],
        state=_STATES[row["state"]],
    )
    letter.create_time.FromDatetime(row["create_time"])
    return letter
