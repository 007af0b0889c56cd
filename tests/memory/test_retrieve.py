"""Retrieval: best first, as filtered, above the threshold; by words while there are no vectors."""

import asyncio

import pytest
from google.protobuf import json_format
from soma.memory.v1 import memory_service_pb2 as pb

from services.memory.passages import Json
from services.mesh.call import errors
from tests.memory.conftest import EMBED_SECONDS, Memory, plain

LONG = " ".join(f"Chapter {n} tells of nothing in particular." for n in range(80))


def asking(query: str, **fields: object) -> pb.RetrieveRequest:
    """A request; `filter` as JSON."""
    request = pb.RetrieveRequest(query=query)
    json_format.ParseDict(fields, request)
    return request


async def test_the_most_similar_facts_come_first_with_rank_score_and_source(memory: Memory) -> None:
    await memory.remember("boats", "boats in the harbour", {"n": 1})
    await memory.remember("bread", "bread from the oven")
    await memory.remember("red", "red boats sail from the harbour at night")
    found = await memory.stub.Retrieve(asking("boats in the harbour", scoreThreshold=0.0))
    assert [result.key for result in found.results] == ["boats", "red", "bread"]
    assert [result.rank for result in found.results] == [1, 2, 3]
    assert list(found.sources) == ["boats", "red", "bread"]
    assert found.total_results == 3
    scores = [result.score for result in found.results]
    assert scores == sorted(scores, reverse=True)
    assert 0.5 <= scores[-1] < scores[0] <= 1.0
    assert plain(found.results[0].metadata) == {"n": 1}
    assert found.query == "boats in the harbour"
    assert found.latency_ms > 0
    assert not found.degraded


async def test_results_stay_above_the_threshold_which_is_0_7_and_are_five_unless_said_otherwise(memory: Memory) -> None:
    for number in range(8):
        await memory.remember(f"boat {number}", f"harbour boats number {number}")
    await memory.remember("bread", "bread from the oven")
    assert len((await memory.stub.Retrieve(asking("harbour boats"))).results) == 5
    assert len((await memory.stub.Retrieve(asking("harbour boats", topK=20))).results) == 8
    assert len((await memory.stub.Retrieve(asking("harbour boats", topK=20, scoreThreshold=0.0))).results) == 9
    assert not (await memory.stub.Retrieve(asking("harbour boats", scoreThreshold=1.0))).results


async def test_metadata_can_be_left_out(memory: Memory) -> None:
    await memory.remember("k", "harbour", {"a": 1})
    with_it = await memory.stub.Retrieve(asking("harbour"))
    without = await memory.stub.Retrieve(asking("harbour", includeMetadata=False))
    assert with_it.results[0].HasField("metadata")
    assert not without.results[0].HasField("metadata")


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({"category": "a"}, {"first"}),
        ({"category": "none"}, set()),
        ({"tags": ["x"]}, {"first", "second"}),
        ({"tags": ["y", "x"]}, {"first"}),
        ({"tags": "x"}, set()),
        ({"category": ["a"]}, set()),
        ({"count": 2}, {"second"}),
        ({"count": 2.0, "tags": []}, {"second"}),
        ({"done": None}, {"second"}),
        ({"owner": {"name": "Ann"}}, {"first"}),
        ({"note": "a\0b"}, {"second"}),
        ({}, {"first", "second"}),
    ],
)
@pytest.mark.parametrize("degraded", [False, True])
async def test_a_filter_matches_equal_scalars_and_contained_lists(
    memory: Memory, filter_: dict[str, Json], expected: set[str], degraded: bool
) -> None:
    await memory.remember(
        "first", "harbour", {"category": "a", "tags": ["x", "y"], "count": 1, "owner": {"name": "Ann", "age": 3}}
    )
    await memory.remember("second", "harbour", {"tags": ["x"], "count": 2, "done": None, "note": "a\0b"})
    memory.model.failure = errors.Unavailable("away") if degraded else None
    found = await memory.stub.Retrieve(asking("harbour", scoreThreshold=0.0, filter=filter_))
    assert {result.key for result in found.results} == expected


async def test_a_long_value_is_ranked_by_its_best_passage(memory: Memory) -> None:
    await memory.remember("book", f"{LONG} The treasure lies under the lighthouse. {LONG}")
    await memory.remember("bread", "bread from the oven")
    found = await memory.stub.Retrieve(asking("treasure under the lighthouse", scoreThreshold=0.0))
    assert found.results[0].key == "book"
    assert found.answer == "The treasure lies under the lighthouse."
    assert all(len(texts) <= 100 and max(map(len, texts)) <= 512 for texts in memory.model.asked)


async def test_a_fact_with_many_similar_passages_does_not_hide_others(memory: Memory) -> None:
    await memory.remember("many", " ".join(f"The harbour has boats, {n:04} of them, {'and ' * 90}." for n in range(60)))
    for number in range(4):
        await memory.remember(
            f"other {number}", f"Here is a harbour far away from every town and every road, number {number}."
        )
    found = await memory.stub.Retrieve(asking("harbour", topK=5, scoreThreshold=0.0))
    assert {result.key for result in found.results} == {"many", *(f"other {number}" for number in range(4))}


async def test_a_query_of_any_length_is_embedded_in_pieces(memory: Memory) -> None:
    await memory.remember("k", "the lighthouse keeper")
    query = ("lighthouse keeper " * 230)[:4096]
    found = await memory.stub.Retrieve(asking(query))
    assert [result.key for result in found.results] == ["k"]


async def test_without_vectors_facts_are_found_by_their_words_and_the_answer_says_so(memory: Memory) -> None:
    await memory.remember("boat", "Ann has a boat. It is painted red.")
    await memory.remember("bread", "bread from the oven")
    memory.model.failure = errors.Unavailable("away")
    found = await memory.stub.Retrieve(asking("What is painted red?"))
    assert found.degraded
    assert [(result.key, result.score) for result in found.results] == [("boat", 1.0)]
    assert found.answer == "It is painted red."
    half = await memory.stub.Retrieve(asking("red bicycles"))
    assert [(result.key, result.score) for result in half.results] == [("boat", 0.5)]
    assert not (await memory.stub.Retrieve(asking("red bicycles", scoreThreshold=0.6))).results
    assert (await memory.stub.Retrieve(asking("the of and"))).total_results == 0


async def test_a_model_service_that_hangs_costs_a_bounded_wait(memory: Memory) -> None:
    await memory.remember("boat", "Ann has a red boat")
    memory.model.held = asyncio.Event()
    found = await memory.stub.Retrieve(asking("red boat"))
    memory.model.release()
    assert found.degraded
    assert [result.key for result in found.results] == ["boat"]
    assert found.latency_ms < 1e3 * (EMBED_SECONDS + 1)


async def test_a_query_of_characters_postgres_cannot_keep_is_answered(memory: Memory) -> None:
    await memory.remember("k", "harbour")
    memory.model.failure = errors.Unavailable("away")
    assert [result.key for result in (await memory.stub.Retrieve(asking("the\0harbour"))).results] == ["k"]


async def test_a_search_without_results_has_no_answer(memory: Memory) -> None:
    found = await memory.stub.Retrieve(asking("harbour"))
    assert (found.answer, found.total_results, list(found.sources)) == ("", 0, [])
