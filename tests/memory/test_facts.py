"""Facts through the contract: stored, recalled, replaced, forgotten, each tenant's own."""

import asyncio
import math
from typing import ClassVar

from google.protobuf.struct_pb2 import ListValue, Struct, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soma.memory.v1 import memory_service_pb2 as pb

from services.memory.passages import Json
from services.memory.store.facts import FactStore
from services.mesh.call import errors
from services.mesh.process.jobs import Job
from services.mesh.testing.jobs import running
from services.mesh.testing.waiting import until
from tests.memory.conftest import Memory, as_globex, json_value, plain, refused
from tests.size import examples

SCALARS: st.SearchStrategy[Json] = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**53), 2**53)
    | st.text()
)
VALUES: st.SearchStrategy[Json] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


async def test_a_fact_is_stored_with_its_vector_and_counted_when_recalled(memory: Memory) -> None:
    stored = await memory.remember("user:ann/favourite colour", "teal", {"category": "taste", "tags": ["a", "b"]})
    assert (stored.key, stored.status, stored.embedding_dimensions) == ("user:ann/favourite colour", "stored", 384)
    assert stored.vector_id.startswith("vec_")
    assert stored.HasField("indexed_at")
    first = await memory.stub.Recall(pb.RecallRequest(key="user:ann/favourite colour"))
    assert first.value.string_value == "teal"
    assert plain(first.metadata) == {"category": "taste", "tags": ["a", "b"]}
    assert first.accessed_count == 1
    assert not first.HasField("last_accessed")
    second = await memory.stub.Recall(pb.RecallRequest(key="user:ann/favourite colour"))
    third = await memory.stub.Recall(pb.RecallRequest(key="user:ann/favourite colour"))
    assert third.accessed_count == 3
    assert third.created_at == first.created_at
    assert first.created_at.ToNanoseconds() < second.last_accessed.ToNanoseconds() < third.last_accessed.ToNanoseconds()


async def test_concurrent_recalls_are_all_counted(memory: Memory) -> None:
    await memory.remember("k", 1)
    counts = await asyncio.gather(*(memory.stub.Recall(pb.RecallRequest(key="k")) for _ in range(20)))
    assert sorted(recalled.accessed_count for recalled in counts) == list(range(1, 21))


async def test_storing_again_replaces_value_and_metadata_and_keeps_the_count_of_recalls(memory: Memory) -> None:
    first = await memory.remember("k", "the old harbour", {"a": 1})
    await memory.stub.Recall(pb.RecallRequest(key="k"))
    second = await memory.remember("k", "a new lighthouse")
    assert second.vector_id == first.vector_id
    recalled = await memory.stub.Recall(pb.RecallRequest(key="k"))
    assert recalled.value.string_value == "a new lighthouse"
    assert not recalled.HasField("metadata")
    assert recalled.accessed_count == 2
    found = await memory.stub.Retrieve(pb.RetrieveRequest(query="the old harbour", score_threshold=0.0))
    assert [result.value.string_value for result in found.results] == ["a new lighthouse"]


async def test_concurrent_replacements_leave_one_of_them_whole(memory: Memory) -> None:
    await asyncio.gather(*(memory.remember("k", f"number {n}. " + "padding sentence. " * 60) for n in range(8)))
    recalled = await memory.stub.Recall(pb.RecallRequest(key="k"))
    texts = [row["text"] for row in await memory.pool.fetch("SELECT text FROM memory.passage ORDER BY id")]
    assert " ".join(texts) == recalled.value.string_value.strip()


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
async def test_every_json_value_comes_back_exactly(memory: Memory, value: Json) -> None:
    sent = json_value(value)
    await memory.stub.Remember(pb.RememberRequest(key="any", value=sent, metadata=Struct(fields={"inner": sent})))
    recalled = await memory.stub.Recall(pb.RecallRequest(key="any"))
    assert recalled.value.SerializeToString(deterministic=True) == sent.SerializeToString(deterministic=True)
    assert recalled.metadata.fields["inner"] == sent


async def test_a_value_that_is_not_json_is_refused_with_the_name_of_its_field(memory: Memory) -> None:
    no_kind = Value(list_value=ListValue(values=[Value()]))
    for field, request in {
        "value": pb.RememberRequest(key="k", value=no_kind),
        "metadata": pb.RememberRequest(
            key="k", value=json_value(1), metadata=Struct(fields={"n": Value(number_value=math.inf)})
        ),
        "key": pb.RememberRequest(key="a\0b", value=json_value(1)),
    }.items():
        error = await refused(memory.stub.Remember(request))
        assert error.code is errors.Code.INVALID_ARGUMENT
        assert [violation.field for violation in error.facts.violations] == [field]


async def test_a_value_may_have_256_kib_of_json_text_and_not_a_byte_more(memory: Memory) -> None:
    largest = "é" * (128 * 1024 - 1)
    await memory.remember("k", largest)
    recalled = await memory.stub.Recall(pb.RecallRequest(key="k"))
    assert recalled.value.string_value == largest
    error = await refused(memory.stub.Remember(pb.RememberRequest(key="k", value=json_value(largest + "x"))))
    assert error.code is errors.Code.INVALID_ARGUMENT
    assert [violation.field for violation in error.facts.violations] == ["value"]


async def test_an_unknown_key_is_not_found(memory: Memory) -> None:
    error = await refused(memory.stub.Recall(pb.RecallRequest(key="nothing")))
    assert error.code is errors.Code.NOT_FOUND
    assert error.facts.metadata == {"key": "nothing"}


async def test_an_expired_fact_is_not_found_even_before_it_is_swept(memory: Memory) -> None:
    await memory.stub.Remember(pb.RememberRequest(key="k", value=json_value("a red boat"), ttl_seconds=3600))
    assert (await memory.stub.Recall(pb.RecallRequest(key="k"))).accessed_count == 1
    await memory.pool.execute("UPDATE memory.fact SET expires_at = now()")
    assert (await refused(memory.stub.Recall(pb.RecallRequest(key="k")))).code is errors.Code.NOT_FOUND
    assert not (await memory.stub.Retrieve(pb.RetrieveRequest(query="a red boat"))).results
    assert not (await memory.stub.GetContext(pb.GetContextRequest(current_message="a red boat"))).relevant_documents
    memory.model.failure = errors.Unavailable("away")
    assert not (await memory.stub.Retrieve(pb.RetrieveRequest(query="a red boat"))).results


async def test_a_fact_stored_over_an_expired_one_starts_anew(memory: Memory) -> None:
    await memory.stub.Remember(pb.RememberRequest(key="k", value=json_value(1), ttl_seconds=1))
    before = await memory.stub.Recall(pb.RecallRequest(key="k"))
    await memory.pool.execute("UPDATE memory.fact SET expires_at = now()")
    await memory.remember("k", 2)
    after = await memory.stub.Recall(pb.RecallRequest(key="k"))
    assert after.accessed_count == 1
    assert not after.HasField("last_accessed")
    assert after.created_at.ToNanoseconds() > before.created_at.ToNanoseconds()


async def test_sweeping_deletes_what_has_expired_and_its_passages(memory: Memory) -> None:
    for number in range(3):
        await memory.stub.Remember(pb.RememberRequest(key=f"old{number}", value=json_value("x"), ttl_seconds=60))
    await memory.remember("kept", "x")
    await memory.pool.execute("UPDATE memory.fact SET expires_at = now() WHERE expires_at IS NOT NULL")
    assert await FactStore(memory.pool).sweep() == 3
    assert await memory.pool.fetchval("SELECT string_agg(key, ',') FROM memory.fact") == "kept"
    assert await memory.pool.fetchval("SELECT count(*) FROM memory.passage") == 1


async def test_sweeping_continues_after_a_failure(memory: Memory) -> None:
    class Failing(FactStore):
        failures: ClassVar[list[Exception]] = [errors.Unavailable("away"), LookupError("unexpected")]

        async def sweep(self) -> int:
            if self.failures:
                raise self.failures.pop()
            return await super().sweep()

    await memory.stub.Remember(pb.RememberRequest(key="old", value=json_value("x"), ttl_seconds=60))
    await memory.pool.execute("UPDATE memory.fact SET expires_at = now()")
    async with running(Job("sweep", Failing(memory.pool).sweep, every=0.001)):
        await until(lambda: memory.pool.fetchval("SELECT NOT EXISTS (SELECT FROM memory.fact)"))


async def test_a_key_of_the_maximum_length_is_stored(memory: Memory) -> None:
    key = "".join(chr(0x10000 + 7919 * n % 0xFFFFF) for n in range(512))
    await memory.remember(key, "x")
    assert (await memory.stub.Recall(pb.RecallRequest(key=key))).key == key


async def test_tenants_see_nothing_of_each_other(memory: Memory) -> None:
    await memory.remember("shared key", "acme sails at dawn")
    with as_globex():
        error = await refused(memory.stub.Recall(pb.RecallRequest(key="shared key")))
        assert error.code is errors.Code.NOT_FOUND
        assert not (await memory.stub.Retrieve(pb.RetrieveRequest(query="acme sails", score_threshold=0.0))).results
        context = await memory.stub.GetContext(pb.GetContextRequest(current_message="acme sails at dawn"))
        assert not context.relevant_documents
        await memory.remember("shared key", "globex sails at dusk")
    assert (await memory.stub.Recall(pb.RecallRequest(key="shared key"))).value.string_value == "acme sails at dawn"
    found = await memory.stub.Retrieve(pb.RetrieveRequest(query="sails", score_threshold=0.0))
    assert [result.value.string_value for result in found.results] == ["acme sails at dawn"]
    memory.model.failure = errors.Unavailable("away")
    found = await memory.stub.Retrieve(pb.RetrieveRequest(query="sails"))
    assert [result.value.string_value for result in found.results] == ["acme sails at dawn"]


async def test_vectors_are_asked_for_in_memorys_own_name(memory: Memory) -> None:
    await memory.remember("k", "v")
    assert memory.model.callers == [("acme", "memory")]


async def test_a_fact_is_kept_while_there_are_no_vectors_and_gets_them_later(memory: Memory) -> None:
    memory.model.failure = errors.Unavailable("away")
    stored = await memory.remember("k", "the lighthouse keeper")
    assert stored.status == "stored"
    assert not stored.HasField("indexed_at")
    assert (await memory.stub.Recall(pb.RecallRequest(key="k"))).value.string_value == "the lighthouse keeper"
    memory.model.failure = None
    await memory.indexed()
    assert await memory.pool.fetchval("SELECT indexed_at IS NOT NULL FROM memory.fact")
    found = await memory.stub.Retrieve(pb.RetrieveRequest(query="lighthouse keeper"))
    assert [result.key for result in found.results] == ["k"]
    assert not found.degraded
