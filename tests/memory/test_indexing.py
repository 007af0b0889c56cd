"""Indexing: every passage gets its vector once, even if something fails meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from soma.model.v1.options_pb2 import URGENCY_BACKGROUND, URGENCY_INTERACTIVE

from services.memory.embedder import DIMENSIONS, Vector
from services.memory.indexing import BATCH, Indexer
from services.memory.store.passages import PendingPassages
from services.mesh.call import errors
from services.mesh.testing.waiting import until
from tests.fakes.embedder import FakeEmbedder, by_words
from tests.memory.conftest import Memory, as_globex, serving, user

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase


class CountingEmbedder:
    """Counts the texts it embeds."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, tenant_id: str, texts: Sequence[str]) -> list[Vector]:
        """Vectors that are all the same."""
        await asyncio.sleep(0)
        self.texts += texts
        return [[1.0] + [0.0] * (DIMENSIONS - 1) for _ in texts]


async def unindexed(memory: Memory, *keys: str) -> None:
    """Facts without vectors, and a model service that is away."""
    memory.model.failure = errors.Unavailable("away")
    for key in keys:
        await memory.remember(key, f"text of {key}")


Leave = Callable[..., Awaitable["OwnedDatabase"]]


@pytest.fixture
def left_behind(database: "OwnedDatabase", tmp_path: Path) -> Leave:
    """Facts without vectors in a database whose service has stopped, so that only the test's own indexers work."""

    async def leave(*keys: str) -> "OwnedDatabase":
        async with serving(database, tmp_path, FakeEmbedder()) as served:
            await unindexed(served, *keys)
        await database.execute("UPDATE memory.passage SET claimed_until = NULL")
        return database

    return leave


async def test_two_processes_share_the_work_and_do_none_of_it_twice(left_behind: Leave) -> None:
    pool = await left_behind(*(f"k{n}" for n in range(3 * BATCH)))
    embedder = CountingEmbedder()
    indexers = [Indexer(PendingPassages(pool.system), embedder) for _ in range(2)]

    async def drain(indexer: Indexer) -> None:
        while await indexer.step():
            continue

    await asyncio.gather(*(drain(indexer) for indexer in indexers))
    assert not await pool.fetchval("SELECT EXISTS (SELECT FROM memory.passage WHERE embedding IS NULL)")
    assert len(embedder.texts) == len(set(embedder.texts))


async def test_passages_claimed_by_a_killed_process_are_indexed_when_the_claim_expires(left_behind: Leave) -> None:
    pool = await left_behind("k")
    pending = PendingPassages(pool.system)
    await pool.execute("UPDATE memory.passage SET claimed_until = now() + interval '30 seconds'")
    assert await pending.claim(BATCH) == []
    await pool.execute("UPDATE memory.passage SET claimed_until = now() - interval '1 second'")
    assert [passage.passage.text for passage in await pending.claim(BATCH)] == ["text of k"]


async def test_a_failed_step_releases_its_passages(left_behind: Leave) -> None:
    pool = await left_behind("k")

    class Absent:
        async def embed(self, tenant_id: str, texts: Sequence[str]) -> list[Vector]:
            raise errors.Unavailable("away")

    with pytest.raises(errors.Unavailable):
        await Indexer(PendingPassages(pool.system), Absent()).step()
    assert len(await PendingPassages(pool.system).claim(BATCH)) == 1


async def test_a_passage_the_model_refuses_does_not_hold_up_the_others(memory: Memory) -> None:
    memory.model.refuses = "poison"
    await memory.say("c", user("good"), user("poison"), user("better"))

    async def settled() -> bool:
        return bool(
            await memory.pool.fetchval(
                "SELECT count(*) = 2 FROM memory.passage WHERE embedding IS NOT NULL"
                " AND EXISTS (SELECT FROM memory.passage WHERE claimed_until = 'infinity')"
            )
        )

    await until(settled)


async def test_passages_are_embedded_with_the_identity_of_their_tenant(memory: Memory) -> None:
    await memory.say("c", user("of acme"))
    with as_globex():
        await memory.say("c", user("of globex"))
    await memory.indexed()
    calls = zip(memory.model.asked, memory.model.callers, strict=True)
    asked = {(text, tenant) for texts, (tenant, _) in calls for text in texts}
    assert asked == {("of acme", "acme"), ("of globex", "globex")}


async def test_nobody_waits_for_the_index_but_for_a_fact_and_a_question(memory: Memory) -> None:
    await memory.say("c", user("a turn"))
    await memory.indexed()
    await memory.remember("k", "a fact")
    urgency = {text: request.urgency for request in memory.model.requests for text in request.input}
    assert urgency == {"a turn": URGENCY_BACKGROUND, "k: a fact": URGENCY_INTERACTIVE}


async def test_a_fact_replaced_while_its_passages_are_embedded_keeps_the_new_ones(memory: Memory) -> None:
    await unindexed(memory, "k")
    pending = PendingPassages(memory.pool.system)
    await memory.pool.execute("UPDATE memory.passage SET claimed_until = NULL")
    old = [row["id"] for row in await memory.pool.fetch("SELECT id FROM memory.passage")]
    await memory.remember("k", "the new text")
    await pending.fill([(id, [1.0] + [0.0] * (DIMENSIONS - 1)) for id in old])
    rows = await memory.pool.fetch("SELECT text, embedding IS NULL AS waits FROM memory.passage")
    assert [(row["text"], row["waits"]) for row in rows] == [("the new text", True)]
    assert await memory.pool.fetchval("SELECT indexed_at IS NULL FROM memory.fact")


async def test_vectors_with_other_dimensions_are_not_stored(memory: Memory) -> None:
    memory.model.vector = by_words(768)
    stored = await memory.remember("k", "the lighthouse keeper")
    assert not stored.HasField("indexed_at")
    assert stored.status == "stored"
