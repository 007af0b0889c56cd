"""Concurrent recalls of one key: the first locks the row, the others share the next statement."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from soma.memory.v1 import memory_service_pb2 as pb

from services.mesh.testing.waiting import until
from tests.memory.conftest import Memory

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
DROP = "DELETE FROM memory.fact WHERE key = 'k'"


@asynccontextmanager
async def recalling(
    memory: Memory, pool: "OwnedDatabase", then: str = ""
) -> AsyncIterator[list[asyncio.Task[pb.RecallResponse]]]:
    """Five recalls of a locked key, one statement of which waits in Postgres; the lock goes with the block."""

    async def recall() -> pb.RecallResponse:
        return await memory.stub.Recall(pb.RecallRequest(key="k"), timeout=15)

    async def one_waits() -> bool:
        return bool(await pool.fetchval(WAITING))

    async with pool.acquire() as holder, holder.transaction():
        await holder.execute("SELECT FROM memory.fact WHERE key = 'k' FOR UPDATE")
        tasks = [asyncio.create_task(recall()) for _ in range(5)]
        await until(one_waits)
        yield tasks
        if then:
            await holder.execute(then)


async def test_waiting_recalls_share_a_statement_and_each_is_counted(memory: Memory) -> None:
    await memory.remember("k", "teal", {"a": 1})
    async with recalling(memory, memory.pool) as tasks:
        assert await memory.pool.fetchval(WAITING) == 1
    answers = sorted(await asyncio.gather(*tasks), key=lambda answer: answer.accessed_count)
    assert [answer.accessed_count for answer in answers] == [1, 2, 3, 4, 5]
    assert {answer.value.string_value for answer in answers} == {"teal"}
    assert [answer.HasField("last_accessed") for answer in answers] == [False, True, True, True, True]


async def test_cancelled_recalls_do_not_delay_others(memory: Memory) -> None:
    await memory.remember("k", "teal")
    async with recalling(memory, memory.pool) as tasks:
        tasks[0].cancel()
        tasks[2].cancel()
        await asyncio.wait((tasks[0], tasks[2]))
    answers = await asyncio.gather(tasks[1], tasks[3], tasks[4])
    # The recall whose statement waited may have been counted before its caller was cancelled.
    first, *others = sorted(answer.accessed_count for answer in answers)
    assert first in (1, 2)
    assert others == [first + 1, first + 2]


async def test_waiting_recalls_of_a_fact_that_was_deleted_find_nothing(memory: Memory) -> None:
    await memory.remember("k", "teal")
    async with recalling(memory, memory.pool, then=DROP) as tasks:
        pass
    for task in tasks:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await task
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
