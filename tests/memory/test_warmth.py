"""Memory while the embedding model is loading: it reports that, searches by words, and by meaning later."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from soma.memory.v1 import memory_service_pb2 as pb

from services.memory import warmth
from services.mesh.call import errors
from services.mesh.testing.waiting import until
from tests.fakes.embedder import FakeEmbedder
from tests.memory.conftest import EMBED_SECONDS, Memory, passes, serving, user

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

BOAT = "the red boat lies in the harbour"


@pytest.fixture
async def model() -> FakeEmbedder:
    """A model service that is still loading its model."""
    loading = FakeEmbedder()
    loading.held = asyncio.Event()
    return loading


@pytest.fixture
async def cold(
    database: "OwnedDatabase", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: FakeEmbedder
) -> AsyncIterator[Memory]:
    """The service as it starts beside that model service."""
    monkeypatch.setenv("SOMA_MEMORY_EMBED_SECONDS", str(EMBED_SECONDS))
    async with serving(database, tmp_path, model, warm=False) as served:
        yield served


async def test_memory_is_not_ready_until_the_model_is_loaded(cold: Memory) -> None:
    async def asked() -> bool:
        assert not await passes(cold.warm)
        return bool(cold.model.asked)

    await until(asked)
    cold.model.release()
    await until(partial(passes, cold.warm))
    assert cold.model.asked == [["warm"]]


async def test_calls_do_not_wait_for_a_model_that_is_being_loaded(cold: Memory) -> None:
    assert not await passes(cold.warm)
    stored = await cold.remember("boat", BOAT)
    assert not stored.HasField("indexed_at")
    await cold.say("c", user(BOAT), user("and where is it?"))
    found = await cold.stub.Retrieve(pb.RetrieveRequest(query="red boat harbour"))
    assert (list(found.sources), found.degraded) == (["boat"], True)
    context = await cold.stub.GetContext(pb.GetContextRequest(conversation_id="c", current_message="red boat harbour"))
    assert [document.key for document in context.relevant_documents] == ["boat"]
    assert (len(context.recent_messages), context.degraded) == (2, True)
    # Only the check and the indexer, both in the background, have asked.
    assert not [texts for texts in cold.model.asked if "red boat harbour" in texts]
    cold.model.release()
    await until(partial(passes, cold.warm))
    await cold.indexed()
    found = await cold.stub.Retrieve(pb.RetrieveRequest(query="red boat harbour"))
    assert (list(found.sources), found.degraded) == (["boat"], False)


@pytest.mark.parametrize(
    ("error", "left_alone"),
    [
        (errors.Unavailable("no live instance"), False),
        (errors.FailedPrecondition("it cannot be loaded", reason="EMBEDDING_BUILD_FAILED"), True),
    ],
)
async def test_memory_is_ready_if_there_is_no_model_to_wait_for(
    cold: Memory, error: errors.MeshError, left_alone: bool
) -> None:
    cold.model.failure = error
    cold.model.release()
    await until(partial(passes, cold.warm))
    assert (await cold.stub.Retrieve(pb.RetrieveRequest(query="boat"))).degraded
    for _ in range(2):
        assert await passes(cold.warm)
        # One question later, what the check may have asked has been answered.
        await cold.stub.Retrieve(pb.RetrieveRequest(query="boat"))
    # A service that cannot load its model is not asked again; one that is away may be back at any time.
    assert (len(cold.model.asked) == 1) is left_alone


async def test_a_model_service_that_comes_later_is_found(cold: Memory) -> None:
    cold.model.failure = errors.Unavailable("no live instance")
    cold.model.release()
    await until(partial(passes, cold.warm))
    await cold.remember("boat", BOAT)
    cold.model.failure = None

    async def by_meaning() -> bool:
        await cold.warm()
        return not (await cold.stub.Retrieve(pb.RetrieveRequest(query=BOAT))).degraded

    await until(by_meaning)


async def test_memory_becomes_ready_if_the_load_takes_too_long(cold: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not await passes(cold.warm)
    monkeypatch.setattr(warmth, "PATIENCE_SECONDS", 0.0)
    assert await passes(cold.warm)
    assert (await cold.stub.Retrieve(pb.RetrieveRequest(query="boat"))).degraded
