"""Recall with the real embedding model: the measurement behind the thresholds, repeated on every run."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from soma.memory.v1 import memory_service_pb2 as pb
from soma.model.v1 import model_service_pb2

from services.model.embedding.minilm import MiniLm
from services.model.embedding.settings import EmbeddingSettings
from tests.fakes.embedder import FakeEmbedder
from tests.memory.conftest import Memory, serving, user

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

# Question, key and value of the fact that answers it.
FACTS = [
    ("What is my favourite colour?", "user:ann:favourite_colour", "teal"),
    ("Where do I live?", "user:ann:home_city", "Lisbon"),
    ("Where does Ana live?", "ana/house", "Ana has a small house near the river in Lisbon, with a view of the boats."),
    ("What is my dog called?", "user:pet:dog", "Biscuit"),
    ("How old is Rex?", "rex", "The dog of the neighbours is called Rex and he is three years old, they say."),
    ("How do I deploy my agent?", "kb:deploy", "To deploy an agent, run soma up on the server and point DNS to it."),
    (
        "When is the quarterly review?",
        "review",
        "The quarterly business review takes place on 14 March at 10:00 sharp.",
    ),
    (
        "Who is the lighthouse keeper?",
        "keeper",
        "The keeper of the lighthouse is an old sailor whose name is Mats Holm.",
    ),
    ("What am I allergic to?", "allergy", "Ann cannot eat peanuts; she gets a rash."),
    ("What do I do for work?", "work", "I am a marine biologist at the university of Bergen, since last year."),
    ("How many employees does the company have?", "size", "The company has 240 employees in three countries."),
    ("What database do we use?", "kb:storage", "Our services store their data in Postgres 18 with pgvector inside it."),
    ("Which plan is customer 4711 on?", "customer:4711:plan", "enterprise"),
    ("Can you recommend a restaurant for tonight?", "food", "Ann is vegetarian and likes Thai food."),
    ("What's the wifi password?", "office:wifi:password", "correct-horse"),
    ("What did I say my budget was?", "trip", "My budget for the trip is 1,200 euros."),
    ("What is the refund policy?", "refunds", "Customers may return goods within 30 days for their money back."),
    ("What language should you answer in?", "user:ann:preferred_language", "Norwegian"),
    ("What is the capital of Portugal?", "fact:portugal", "The capital of Portugal is Lisbon."),
    ("Which team won the final?", "sport", "Rosenborg won the cup final against Brann on penalties."),
]


class MiniLmModel(FakeEmbedder):
    """Embeds with MiniLM."""

    def __init__(self, embedder: MiniLm) -> None:
        super().__init__()
        self._embedder = embedder

    async def Embed(self, request: model_service_pb2.EmbedRequest, context: Any) -> model_service_pb2.EmbedResponse:
        """Vectors of length 1."""
        embeddings = await self._embedder.embed(list(request.input))
        response = model_service_pb2.EmbedResponse(vector_length=self._embedder.dimensions)
        for index, vector in enumerate(embeddings.vectors.tolist()):
            response.vectors.add(index=index, embedding=vector)
        return response


@pytest.fixture(scope="module")
async def embedder(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MiniLm]:
    """MiniLM, loaded."""
    made = MiniLm(EmbeddingSettings(directory=tmp_path_factory.mktemp("models")))
    await made.embed(["ready"])
    yield made
    await made.close()


@pytest.fixture
async def recalling(database: "OwnedDatabase", tmp_path: Path, embedder: MiniLm) -> AsyncIterator[Memory]:
    """Memory that knows the facts, over MiniLM."""
    async with serving(database, tmp_path, MiniLmModel(embedder)) as memory:
        for _, key, value in FACTS:
            assert (await memory.remember(key, value)).HasField("indexed_at")
        yield memory


async def test_a_context_has_the_fact_that_answers_and_little_else(recalling: Memory) -> None:
    answered = unrelated = 0
    for question, key, _ in FACTS:
        context = await recalling.stub.GetContext(pb.GetContextRequest(current_message=question))
        keys = [source.key for source in context.relevant_documents]
        answered += key in keys
        unrelated += len([other for other in keys if other != key])
    assert answered >= 18
    assert unrelated <= 2 * len(FACTS)


async def test_retrieve_ranks_the_fact_that_answers_first_and_its_default_threshold_keeps_most(
    recalling: Memory,
) -> None:
    first = kept = 0
    for question, key, _ in FACTS:
        found = await recalling.stub.Retrieve(pb.RetrieveRequest(query=question, score_threshold=0.0))
        first += found.sources[0] == key
        found = await recalling.stub.Retrieve(pb.RetrieveRequest(query=question))
        kept += key in found.sources
    assert first >= 17
    assert kept >= 13


async def test_what_was_said_long_ago_is_recalled_by_meaning(recalling: Memory) -> None:
    await recalling.say("c", user("By the way, my sister Clara plays the violin in an orchestra."))
    for number in range(40):
        await recalling.say("c", user(f"Please add {number} and {number + 1} and tell me what the sum of the two is."))
    await recalling.indexed()
    context = await recalling.stub.GetContext(
        pb.GetContextRequest(conversation_id="c", current_message="Which instrument does Clara play?", token_budget=300)
    )
    assert context.relevant_documents[0].key == "conversation:c#1"
    assert not context.degraded
