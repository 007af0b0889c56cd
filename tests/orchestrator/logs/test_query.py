"""Logs read backwards: filters, pages, bounds, and that a tenant's is its own."""

import grpc
import pytest
import redis.asyncio as aioredis
from hypothesis import given
from hypothesis import strategies as st
from soma.orchestrator.v1 import log_service_pb2 as pb

from services.mesh.call.call import run_as
from services.mesh.call.errors import Code
from services.mesh.call.status import from_rpc_error
from services.mesh.stores.stream_position import entry_id, position
from services.mesh.testing.local import SOMEBODY
from services.orchestrator.logs.entry import CHAT, EntryFilter, Task, new_entry
from tests.orchestrator.logs.conftest import BOUNDS, Desk, chat, messages
from tests.servers import RedisServer


async def query(desk: Desk, **fields: object) -> pb.QueryLogsResponse:
    """A page of the tenant's log."""
    with run_as(SOMEBODY):
        return await desk.stub.QueryLogs(pb.QueryLogsRequest(**fields))  # type: ignore[arg-type]


async def test_a_log_is_read_newest_first_by_task_agent_level_and_words(desk: Desk) -> None:
    await desk.write("turn started", "turn finished", task="t-1", agent_id="a-1")
    await desk.write("turn FAILED: X", task="t-2", level="error")
    await desk.write("policy redacted", task="t-2", level="warning", agent_id="a-2")
    await desk.write("somebody else's", tenant="globex")
    everything = ["policy redacted", "turn FAILED: X", "turn finished", "turn started"]
    assert messages(list((await query(desk)).logs)) == everything
    assert messages(list((await query(desk, task_id="t-1")).logs)) == everything[2:]
    assert messages(list((await query(desk, agent_id="a-1")).logs)) == everything[2:]
    assert messages(list((await query(desk, level="warning")).logs)) == everything[:2]
    assert messages(list((await query(desk, level="error", search="failed", limit=50)).logs)) == everything[1:2]
    assert not (await query(desk, task_id="unknown")).logs


async def test_pages_hold_every_entry_once(desk: Desk) -> None:
    await desk.write(*(str(n) for n in range(10)))
    seen, token, pages = [], "", 0
    while True:
        page = await query(desk, page_size=4, page_token=token)
        seen.extend(messages(list(page.logs)))
        pages += 1
        token = page.next_page_token
        if not token:
            break
    assert (seen, pages) == ([str(n) for n in reversed(range(10))], 3)


async def test_a_forged_page_token_is_refused(desk: Desk) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await query(desk, page_token="nonsense")
    error = from_rpc_error(refused.value)
    assert (error.code, error.facts.violations[0].field) == (Code.INVALID_ARGUMENT, "page_token")


async def test_a_page_token_is_valid_only_for_its_filters_but_for_any_page_size(desk: Desk) -> None:
    await desk.write(*(str(n) for n in range(6)))
    token = (await query(desk, task_id="t-1", page_size=2)).next_page_token
    assert messages(list((await query(desk, task_id="t-1", limit=3, page_token=token)).logs)) == ["3", "2", "1"]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await query(desk, page_token=token)
    assert from_rpc_error(refused.value).reason == "PAGE_TOKEN_INVALID"


async def test_a_log_is_bounded_and_entries_of_turns_without_a_session_replace_only_each_other(
    desk: Desk, redis: aioredis.Redis
) -> None:
    await desk.write("kept", task="s-1")
    for number in range(8):
        await desk.write("turn", **chat(number))
    await desk.write(*("more" for _ in range(2000)), task="s-2")
    assert messages(await desk.store.before("acme", "s-1", None, 10)) == ["kept"]
    tasks = [number for number in range(8) if await desk.store.before("acme", f"c-{number}", None, 1)]
    assert tasks == [3, 4, 5, 6, 7]
    assert 1000 <= await redis.xlen("soma:logs:{acme}") <= 1100
    assert 100 <= await redis.xlen("soma:logs:{acme}:task:s-2") <= 200
    assert [key for key in await redis.keys("soma:logs:*") if await redis.ttl(key) <= 0] == []


async def test_a_write_of_many_tasks_keeps_their_order_and_every_bound(desk: Desk, redis: aioredis.Redis) -> None:
    about = [Task(f"c-{number}", CHAT) for number in range(1200)]
    # The two entries of a task are apart from each other in the write.
    written = [new_entry(task, "info", said, {}) for said in ("started", "finished") for task in about]
    await desk.store.append("acme", written)
    kept = await desk.store.after("acme", "", (0, 0), len(written))
    # Redis trims a log by whole blocks of entries, so it may keep more than its bound.
    assert BOUNDS.entries <= len(kept) <= BOUNDS.entries + 100
    assert [(each.task_id, each.message) for each in kept] == [
        (each.task_id, each.message) for each in written[-len(kept) :]
    ]
    keys = {key.decode() async for key in redis.scan_iter("soma:logs:*")}
    tasks = {key for key in keys if ":task:" in key}
    assert len(tasks) == BOUNDS.tasks
    for key in tasks:
        entries = await desk.store.after("acme", key.rpartition(":")[2], (0, 0), 10)
        assert messages(entries) == ["started", "finished"]
    assert [key for key in keys if not 0 < await redis.ttl(key) <= BOUNDS.seconds] == []


async def test_an_entry_has_the_same_id_in_its_tenants_log_and_in_its_tasks(desk: Desk) -> None:
    await desk.write("one", "two")
    by_tenant = await desk.store.before("acme", "", None, 10)
    by_task = await desk.store.before("acme", "t-1", None, 10)
    assert [entry.id for entry in by_tenant] == [entry.id for entry in by_task]
    assert position(by_tenant[0].id) > position(by_tenant[1].id)


@given(milliseconds=st.integers(0, 2**63), number=st.integers(0, 2**63))
def test_the_id_of_an_entry_contains_its_position(milliseconds: int, number: int) -> None:
    assert position(entry_id((milliseconds, number))) == (milliseconds, number)


LEVELS = ("debug", "info", "warning", "error")


@given(level=st.sampled_from(LEVELS), least=st.sampled_from(LEVELS))
def test_the_filter_by_level_includes_more_severe_levels(level: str, least: str) -> None:
    entry = new_entry(Task("t", "chat"), level, "m", {})
    assert EntryFilter(level=least).matches(entry) == (LEVELS.index(level) >= LEVELS.index(least))


async def test_readers_get_a_typed_error_while_redis_is_away(
    desk: Desk, redis_server: RedisServer, redis: aioredis.Redis
) -> None:
    await redis_server.stop()
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await query(desk)
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as tail:
        await anext(aiter(desk.stub.TailLogs(pb.TailLogsRequest())))
    await redis_server.start()
    for raised in (failure, tail):
        assert from_rpc_error(raised.value).reason == "REDIS_UNAVAILABLE"
