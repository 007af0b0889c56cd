"""Deleted facts: no search finds them from then on, and nothing brings them back."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from soma.memory.v1 import memory_service_pb2 as pb

from services.memory.embedder import DIMENSIONS
from services.memory.indexing import BATCH
from services.memory.store.passages import PendingPassages
from services.mesh.call import errors
from services.mesh.testing.waiting import until
from tests.memory.conftest import Memory, as_globex, json_value, refused

BOAT = "the red boat lies in the harbour"


async def forget(memory: Memory, key: str) -> bool:
    """Delete a fact; returns whether there was one."""
    response = await memory.stub.Forget(pb.ForgetRequest(key=key))
    assert response.key == key
    return response.deleted


async def found(memory: Memory) -> list[str]:
    """The keys that a search for the boat and a model's next turn find."""
    retrieved = await memory.stub.Retrieve(pb.RetrieveRequest(query=BOAT))
    context = await memory.stub.GetContext(pb.GetContextRequest(current_message=BOAT))
    return [*retrieved.sources, *(document.key for document in context.relevant_documents)]


async def test_a_forgotten_fact_is_gone_at_once_from_every_way_of_finding_it(memory: Memory) -> None:
    await memory.remember("boat", BOAT)
    await memory.remember("other", "a lighthouse on the hill")
    assert await found(memory) == ["boat", "boat"]
    assert await forget(memory, "boat")
    assert await found(memory) == []
    memory.model.failure = errors.Unavailable("away")
    assert await found(memory) == []
    assert (await refused(memory.stub.Recall(pb.RecallRequest(key="boat")))).code is errors.Code.NOT_FOUND
    assert [each.key for each in (await memory.stub.ListMemories(pb.ListMemoriesRequest())).memories] == ["other"]
    assert await memory.pool.fetchval("SELECT string_agg(text, ',') FROM memory.passage") == "a lighthouse on the hill"


async def test_forgetting_what_is_not_remembered_is_no_error(memory: Memory) -> None:
    assert not await forget(memory, "nothing")
    await memory.remember("k", 1)
    assert [await forget(memory, "k"), await forget(memory, "k")] == [True, False]


async def test_only_the_key_itself_is_forgotten(memory: Memory) -> None:
    for key in ("a", "a/b", "a%", "A", "a "):
        await memory.remember(key, key)
    assert await forget(memory, "a")
    left = (await memory.stub.ListMemories(pb.ListMemoriesRequest())).memories
    assert [each.key for each in left] == ["A", "a ", "a%", "a/b"]


async def test_forgetting_an_expired_fact_reports_that_there_was_none(memory: Memory) -> None:
    await memory.stub.Remember(pb.RememberRequest(key="k", value=json_value(1), ttl_seconds=60))
    await memory.pool.execute("UPDATE memory.fact SET expires_at = now()")
    assert not await forget(memory, "k")
    assert not await memory.pool.fetchval("SELECT EXISTS (SELECT FROM memory.fact)")


async def test_a_forgotten_key_can_be_remembered_again(memory: Memory) -> None:
    await memory.stub.Remember(pb.RememberRequest(key="k", value=json_value("old"), ttl_seconds=3600))
    before = await memory.stub.Recall(pb.RecallRequest(key="k"))
    assert await forget(memory, "k")
    await memory.remember("k", BOAT)
    after = await memory.stub.Recall(pb.RecallRequest(key="k"))
    assert (after.value.string_value, after.accessed_count) == (BOAT, 1)
    assert after.created_at.ToNanoseconds() > before.created_at.ToNanoseconds()
    (listed,) = (await memory.stub.ListMemories(pb.ListMemoriesRequest())).memories
    assert not listed.HasField("expires_at")
    assert await found(memory) == ["k", "k"]


async def test_a_key_is_forgotten_for_its_own_tenant_alone(memory: Memory) -> None:
    await memory.remember("k", "of acme")
    with as_globex():
        assert not await forget(memory, "k")
        await memory.remember("k", "of globex")
    assert await forget(memory, "k")
    with as_globex():
        assert (await memory.stub.Recall(pb.RecallRequest(key="k"))).value.string_value == "of globex"


async def test_a_fact_forgotten_while_it_is_being_indexed_does_not_come_back(memory: Memory) -> None:
    memory.model.failure = errors.Unavailable("away")
    await memory.remember("k", BOAT)
    await memory.pool.execute("UPDATE memory.passage SET claimed_until = NULL")
    pending = PendingPassages(memory.pool.system)
    claimed = await pending.claim(BATCH)
    assert await forget(memory, "k")
    await pending.fill([(each.id, [1.0] + [0.0] * (DIMENSIONS - 1)) for each in claimed])
    await pending.release([each.id for each in claimed])
    assert not await memory.pool.fetchval("SELECT EXISTS (SELECT FROM memory.passage)")
    memory.model.failure = None
    assert await found(memory) == []


async def test_the_indexer_continues_after_its_current_fact_is_forgotten(memory: Memory) -> None:
    memory.model.failure = errors.Unavailable("away")
    await memory.remember("k", BOAT)
    memory.model.held = asyncio.Event()
    memory.model.failure = None
    memory.model.requests.clear()

    async def embedding() -> bool:
        return any(BOAT in text for texts in memory.model.asked for text in texts)

    await until(embedding)
    assert await forget(memory, "k")
    memory.model.release()
    await memory.indexed()
    assert await found(memory) == []


Other = Callable[[PendingPassages, list[int]], Awaitable[None]]


async def fill(pending: PendingPassages, ids: list[int]) -> None:
    """Give passages vectors."""
    await pending.fill([(id, [1.0] + [0.0] * (DIMENSIONS - 1)) for id in ids])


async def release(pending: PendingPassages, ids: list[int]) -> None:
    """Give passages back."""
    await pending.release(ids)


@pytest.mark.parametrize("other", [fill, release])
async def test_forgetting_and_indexing_do_not_deadlock(memory: Memory, other: Other) -> None:
    memory.model.failure = errors.Unavailable("away")
    pending = PendingPassages(memory.pool.system)
    for round_ in range(5):
        await memory.remember("k", f"round {round_}. " + "A sentence that fills a passage of the fact. " * 200)
        ids = [row["id"] for row in await memory.pool.fetch("SELECT id FROM memory.passage ORDER BY id DESC")]
        assert len(ids) > 10
        deleted, _ = await asyncio.gather(forget(memory, "k"), other(pending, ids))
        assert deleted
    assert not await memory.pool.fetchval("SELECT EXISTS (SELECT FROM memory.passage)")
