"""Lists of facts: in the order of the keys' bytes, in pages without repetitions and gaps, for each tenant alone."""

import asyncio
import base64

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soma.memory.v1 import memory_service_pb2 as pb

from services.memory.passages import Json
from services.memory.store.facts import PAGE
from services.mesh.call import errors
from tests.memory.conftest import Memory, as_globex, json_value, plain, refused

KEYS = [
    "%",
    "A",
    "_",
    "a",
    "a b",
    "a%3Ab",
    "a/b",
    "a/b/c",
    "a:b",
    "a\\b",
    "ab",
    "b",
    "cats/ada:archive",
    "ä",
    "日本",
    "\U0010ffff",
    "\U0010ffff\U0010ffff",
]
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)


async def keys(memory: Memory, page_size: int = 1000, **filters: object) -> list[str]:
    """Every key that is listed, page by page."""
    listed: list[str] = []
    token = ""
    while True:
        request = pb.ListMemoriesRequest(page_size=page_size, page_token=token, **filters)  # type: ignore[arg-type]
        page = await memory.stub.ListMemories(request)
        assert len(page.memories) <= page_size
        listed += [each.key for each in page.memories]
        token = page.next_page_token
        if not token:
            return listed


async def test_a_memory_is_listed_as_it_was_stored_and_not_counted_as_recalled(memory: Memory) -> None:
    request = pb.RememberRequest(key="k", value=json_value({"n": [1, None]}), ttl_seconds=3600)
    request.metadata.update({"category": "c"})
    stored = await memory.stub.Remember(request)
    for _ in range(2):
        (listed,) = (await memory.stub.ListMemories(pb.ListMemoriesRequest())).memories
        assert (listed.key, plain(listed.value), plain(listed.metadata)) == ("k", {"n": [1, None]}, {"category": "c"})
        assert listed.accessed_count == 0
        assert not listed.HasField("last_accessed")
        assert listed.expires_at.ToSeconds() - listed.created_at.ToSeconds() == 3600
        assert listed.indexed_at == stored.indexed_at
    await memory.stub.Recall(pb.RecallRequest(key="k"))
    (listed,) = (await memory.stub.ListMemories(pb.ListMemoriesRequest())).memories
    assert listed.accessed_count == 1
    assert listed.HasField("last_accessed")
    await memory.remember("k", 1)
    (listed,) = (await memory.stub.ListMemories(pb.ListMemoriesRequest())).memories
    assert not listed.HasField("metadata")
    assert not listed.HasField("expires_at")


@pytest.mark.parametrize("page_size", [1, 3, len(KEYS), 1000])
async def test_pages_have_every_key_once_in_the_order_of_their_bytes(memory: Memory, page_size: int) -> None:
    await asyncio.gather(*(memory.remember(key, 1) for key in KEYS))
    assert await keys(memory, page_size) == sorted(KEYS, key=str.encode)


async def test_changes_between_pages_neither_repeat_nor_hide_other_keys(memory: Memory) -> None:
    for key in ("b", "d", "f"):
        await memory.remember(key, 1)
    first = await memory.stub.ListMemories(pb.ListMemoriesRequest(page_size=2))
    await memory.stub.Forget(pb.ForgetRequest(key="d"))  # the last of the page, where the next one starts
    for key in ("a", "e"):
        await memory.remember(key, 1)
    await memory.remember("b", 2)
    rest = await memory.stub.ListMemories(pb.ListMemoriesRequest(page_token=first.next_page_token))
    assert [each.key for each in (*first.memories, *rest.memories)] == ["b", "d", "e", "f"]


@pytest.mark.parametrize("prefix", ["a", "a/", "a/b", "a%", "_", "A", "a\\", "ä", "\U0010ffff", "x", "日", "a:"])
async def test_a_prefix_has_no_wildcards(memory: Memory, prefix: str) -> None:
    await asyncio.gather(*(memory.remember(key, 1) for key in KEYS))
    expected = sorted((key for key in KEYS if key.startswith(prefix)), key=str.encode)
    assert await keys(memory, 2, prefix=prefix) == expected


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored=st.sets(TEXTS, max_size=8), prefix=TEXTS, page_size=st.integers(1, 9))
async def test_pages_of_any_size_have_exactly_the_keys_with_the_prefix(
    memory: Memory, stored: set[str], prefix: str, page_size: int
) -> None:
    await memory.pool.execute("DELETE FROM memory.fact")
    for key in stored | {prefix}:
        await memory.remember(key, None)
    expected = sorted((key for key in stored | {prefix} if key.startswith(prefix)), key=str.encode)
    assert await keys(memory, page_size, prefix=prefix) == expected


async def test_metadata_filters_a_list_in_the_same_way_as_a_search(memory: Memory) -> None:
    stored: dict[str, dict[str, Json]] = {
        "a": {"category": "cats", "tags": ["x", "y"]},
        "b": {"category": "cats", "tags": ["y"]},
        "c": {"category": "dogs", "tags": ["x", "y", "z"]},
        "d": {"category": ["cats"]},
        "e": {},
    }
    for key, metadata in stored.items():
        await memory.remember(key, 1, metadata)
    assert await keys(memory, category="cats") == ["a", "b"]
    assert await keys(memory, 1, tags=["y", "x"]) == ["a", "c"]
    assert await keys(memory, category="cats", tags=["x"]) == ["a"]
    assert await keys(memory, prefix="b", tags=["x"]) == []


async def test_a_page_of_large_values_is_shorter_and_the_next_continues(memory: Memory) -> None:
    for number in range(20):
        await memory.remember(f"k{number:02}", "x" * 250_000)
    page = await memory.stub.ListMemories(pb.ListMemoriesRequest())
    assert len(page.memories) == 12
    assert await keys(memory, 50) == [f"k{number:02}" for number in range(20)]


async def test_what_has_expired_is_not_listed_and_does_not_shorten_pages(memory: Memory) -> None:
    for key in "abcd":
        await memory.stub.Remember(pb.RememberRequest(key=key, value=json_value(1), ttl_seconds=60))
    await memory.pool.execute("UPDATE memory.fact SET expires_at = now() WHERE key IN ('a', 'c')")
    assert [each.key for each in (await memory.stub.ListMemories(pb.ListMemoriesRequest(page_size=2))).memories] == [
        "b",
        "d",
    ]
    assert await keys(memory, 1) == ["b", "d"]


async def test_a_tenant_lists_only_its_own_memories(memory: Memory) -> None:
    await memory.remember("k", "of acme")
    with as_globex():
        assert await keys(memory) == []
        await memory.remember("g", "of globex")
    assert await keys(memory) == ["k"]


async def test_the_longest_keys_fit_a_page_token(memory: Memory) -> None:
    longest = ["\U0010fffe" * 511 + last for last in "abc"]
    for key in longest:
        await memory.remember(key, 1)
    assert await keys(memory, 1, prefix="\U0010fffe" * 511) == longest


@pytest.mark.parametrize("token", ["x", "AAAA", base64.urlsafe_b64encode(b"after:3").decode(), "/w==", "YmVoaW5kOgA="])
async def test_a_forged_page_token_is_refused(memory: Memory, token: str) -> None:
    error = await refused(memory.stub.ListMemories(pb.ListMemoriesRequest(page_token=token)))
    assert error.code is errors.Code.INVALID_ARGUMENT
    assert [violation.field for violation in error.facts.violations] == ["page_token"]


async def test_a_page_token_is_valid_only_for_its_filters(memory: Memory) -> None:
    for key in "abc":
        await memory.remember(key, 1, {"category": "cats"})
    page = await memory.stub.ListMemories(pb.ListMemoriesRequest(page_size=1, category="cats"))
    other = pb.ListMemoriesRequest(category="dogs", page_token=page.next_page_token)
    assert (await refused(memory.stub.ListMemories(other))).reason == "PAGE_TOKEN_INVALID"


async def test_the_cost_of_a_page_does_not_depend_on_the_number_of_memories(memory: Memory) -> None:
    await memory.pool.execute(
        "INSERT INTO memory.fact (tenant_id, key, value, facets)"
        " SELECT 'acme', 'k/' || n % 100 || '/' || n, '', '{}' FROM generate_series(1, 20000) AS n"
    )
    await memory.pool.execute("ANALYZE memory.fact")
    async with memory.pool.acquire() as connection, connection.transaction():
        # From the sixth call on Postgres may use such a plan, which is made for any parameters.
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE page(text, text, text, jsonb, int, bigint) AS {PAGE}")
        explained = "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page('acme', 'k/42/', 'k/42/', '{}', 50, 3000000)"
        (plan,) = await connection.fetchval(explained)
        await connection.execute("DEALLOCATE page")
    scan = plan["Plan"]
    while "Plans" in scan:
        (scan,) = scan["Plans"]
    assert (scan["Index Name"], scan["Actual Rows"]) == ("fact_by_key", 51)
    assert scan.get("Rows Removed by Filter", 0) == 0
