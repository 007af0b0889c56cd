"""A fault of a vendor becomes a typed error for the caller, and leaves no connection or task behind."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
import psutil
import pytest
from soma.mesh.v1.stream_pb2 import StreamError
from soma.model.v1.cost_service_pb2 import UsageRecord
from soma.model.v1.model_service_pb2 import GenerateResponse

from services.mesh.call.call import run_as
from services.mesh.call.errors import Code, MeshError
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from services.model.testing.dialects import AnthropicDialect, Behaviour, Fault, OpenAIDialect
from services.model.testing.upstreams import FakeUpstream
from tests.model.conftest import LARGEST, Models, Serving, asking
from tests.size import Size

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

pytestmark = pytest.mark.usefixtures("nothing_left")

BEFORE = [
    (Fault.BAD_REQUEST, Code.INVALID_ARGUMENT, "PROVIDER_REFUSED_REQUEST"),
    (Fault.UNAUTHORIZED, Code.FAILED_PRECONDITION, "PROVIDER_CREDENTIAL_REFUSED"),
    (Fault.UNKNOWN_MODEL, Code.NOT_FOUND, "MODEL_NOT_FOUND"),
    (Fault.RATE_LIMITED, Code.RESOURCE_EXHAUSTED, "PROVIDER_RATE_LIMITED"),
    (Fault.OVERLOADED, Code.UNAVAILABLE, "PROVIDER_UNAVAILABLE"),
    (Fault.BROKEN, Code.UNAVAILABLE, "PROVIDER_UNAVAILABLE"),
    (Fault.RESET, Code.UNAVAILABLE, "PROVIDER_UNAVAILABLE"),
    (Fault.HANG, Code.UNAVAILABLE, "PROVIDER_TIMEOUT"),
    (Fault.NOT_HTTP, Code.UNAVAILABLE, "PROVIDER_PROTOCOL_ERROR"),
    (Fault.GARBAGE, Code.UNAVAILABLE, "PROVIDER_PROTOCOL_ERROR"),
    (Fault.NOT_A_STREAM, Code.UNAVAILABLE, "PROVIDER_PROTOCOL_ERROR"),
]
MIDDLE = [
    (Fault.RESET_MID, Code.UNAVAILABLE, "PROVIDER_STREAM_CUT"),
    (Fault.CUT_MID, Code.UNAVAILABLE, "PROVIDER_STREAM_CUT"),
    (Fault.TORN_MID, Code.UNAVAILABLE, "PROVIDER_STREAM_CUT"),
    (Fault.HANG_MID, Code.UNAVAILABLE, "PROVIDER_TIMEOUT"),
    (Fault.GARBAGE_MID, Code.UNAVAILABLE, "PROVIDER_PROTOCOL_ERROR"),
    (Fault.ERROR_MID, Code.UNAVAILABLE, "PROVIDER_UNAVAILABLE"),
]


# The ledger's table then raises the error that Postgres raises when the disk is full.
FULL = """
    CREATE FUNCTION model.refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON model.usage EXECUTE FUNCTION model.refuse();
"""


@pytest.fixture(params=[OpenAIDialect, AnthropicDialect])
async def fake(request: pytest.FixtureRequest) -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(request.param()) as fake:
        yield fake


@pytest.fixture
async def models(serving: Serving, fake: FakeUpstream) -> AsyncIterator[Models]:
    async with serving([fake]) as models:
        yield models


def patience(fault: Fault) -> dict[str, float]:
    """Settings of the service: it waits a short time only for a vendor that hangs, because any vendor may be slow."""
    return {Fault.HANG: {"first_byte_timeout": 1.0}, Fault.HANG_MID: {"idle_timeout": 1.0}}.get(fault, {})


async def failing(models: Models) -> tuple[list[GenerateResponse], MeshError]:
    events: list[GenerateResponse] = []
    with run_as(SOMEBODY, timeout=60.0), pytest.raises(grpc.aio.AioRpcError) as raised:
        async for event in models.model.Generate(asking()):
            events.append(event)
    return events, from_rpc_error(raised.value)


@pytest.mark.parametrize(("fault", "code", "reason"), BEFORE)
async def test_a_failure_before_the_first_token_is_the_calls_status(
    serving: Serving, fake: FakeUpstream, fault: Fault, code: Code, reason: str
) -> None:
    async with serving([fake], **patience(fault)) as models:
        fake.behaviour = Behaviour(fault=fault)
        events, error = await failing(models)
        assert events == []
        assert (error.code, error.reason) == (code, reason)
        assert "sk-secret" not in error.message
        async with asyncio.timeout(10):
            await fake.until(open=0)
        (record,) = await models.usage()
    assert (record.outcome, record.error_reason) == (UsageRecord.OUTCOME_FAILED, reason)


@pytest.mark.parametrize(("fault", "code", "reason"), MIDDLE)
async def test_a_failure_after_the_first_token_is_the_streams_last_message_and_its_status(
    serving: Serving, fake: FakeUpstream, fault: Fault, code: Code, reason: str
) -> None:
    async with serving([fake], **patience(fault)) as models:
        fake.behaviour = Behaviour(deltas=("Hello", " there"), fault=fault)
        events, error = await failing(models)
        assert (error.code, error.reason) == (code, reason)
        assert events[0].HasField("started")
        assert "".join(event.delta.text for event in events) == "Hello"
        said: StreamError = events[-1].error
        assert (said.code, said.reason) == (code, reason)
        async with asyncio.timeout(10):
            await fake.until(open=0)
        (record,) = await models.usage()
    assert (record.outcome, record.error_reason) == (UsageRecord.OUTCOME_FAILED, reason)
    assert record.usage.completion_tokens > 0


async def test_a_vendors_retry_time_is_passed_on(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(fault=Fault.RATE_LIMITED, retry_after="7")
    _, error = await failing(models)
    assert error.facts.retry_after == 7.0


async def test_a_vendors_reason_for_refusing_a_request_is_passed_on(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(fault=Fault.BAD_REQUEST, message="temperature must be at most 1")
    _, error = await failing(models)
    assert "temperature must be at most 1" in error.message


async def test_a_vendors_message_about_a_credential_is_not_passed_on(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(fault=Fault.UNAUTHORIZED, message="Incorrect API key provided: sk-secret")
    _, error = await failing(models)
    assert "sk-secret" not in error.message


async def test_a_vendor_that_refuses_connections_is_unavailable(models: Models, fake: FakeUpstream) -> None:
    await fake.__aexit__(None, None, None)
    events, error = await failing(models)
    assert events == []
    assert (error.code, error.reason) == (Code.UNAVAILABLE, "PROVIDER_UNAVAILABLE")
    await models.usage(1)


async def test_an_answer_that_trickles_byte_by_byte_is_whole(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(deltas=("Grüße", " 🌍", " 你好"), fault=Fault.TRICKLE)
    with run_as(SOMEBODY):
        events = [event async for event in models.model.Generate(asking())]
    assert "".join(event.delta.text for event in events) == "Grüße 🌍 你好"
    assert events[-1].HasField("finished")


async def test_an_answer_without_an_end_is_cut_off(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(deltas=["x" * 1000] * (2 * LARGEST // 1000), flood=True)
    events, error = await failing(models)
    assert (error.code, error.reason) == (Code.UNAVAILABLE, "PROVIDER_ENDLESS")
    assert sum(len(event.delta.text) for event in events) <= LARGEST
    async with asyncio.timeout(10):
        await fake.until(open=0)


async def test_an_expired_deadline_ends_the_vendors_work_and_is_recorded_as_a_failure(
    models: Models, fake: FakeUpstream
) -> None:
    fake.behaviour = Behaviour(fault=Fault.HANG)
    # Time enough for the request to reach the vendor first.
    with run_as(SOMEBODY, timeout=1.0), pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in models.model.Generate(asking()):
            pass
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(10):
        await fake.until(open=0, left=1)
    (record,) = await models.usage()
    assert (record.outcome, record.error_reason) == (UsageRecord.OUTCOME_FAILED, "DEADLINE_EXCEEDED")


async def test_hundreds_of_faulty_generations_leave_no_call_connection_or_descriptor(
    models: Models, fake: FakeUpstream, size: Size
) -> None:
    fake.behaviour = Behaviour(fault=Fault.RESET_MID)
    await failing(models)
    before = open_sockets()
    crowds = size.of(1, full=25)
    for _ in range(crowds):
        await asyncio.gather(*(failing(models) for _ in range(200)))
    async with asyncio.timeout(30):
        await fake.until(open=0)
    await until(lambda: models.channel.calls == 0)
    # The pool of Postgres may have opened connections.
    await until(lambda: open_sockets() <= before + 20, seen=open_sockets)
    await models.usage(1 + 200 * crowds)


async def test_connections_are_reused(models: Models, fake: FakeUpstream) -> None:
    for _ in range(5):
        with run_as(SOMEBODY):
            async for _ in models.model.Generate(asking()):
                pass
    assert fake.connections == 1
    await models.usage(5)


async def test_a_record_is_written_when_the_store_accepts_it_again(
    models: Models, fake: FakeUpstream, database: "OwnedDatabase"
) -> None:
    """If the store refuses a record (its table is missing), the generation fails, and the record is written later."""
    await database.execute("ALTER TABLE model.usage RENAME TO away")
    _, error = await failing(models)
    assert error.code in (Code.INTERNAL, Code.UNAVAILABLE)
    await database.execute("ALTER TABLE model.away RENAME TO usage")
    (record,) = await models.usage()
    assert record.outcome == UsageRecord.OUTCOME_FINISHED


async def test_while_the_disk_is_full_running_generations_finish_and_no_new_one_begins(
    models: Models, fake: FakeUpstream, database: "OwnedDatabase"
) -> None:
    await database.execute(FULL)
    with run_as(SOMEBODY, timeout=60.0):
        events = [event async for event in models.model.Generate(asking())]
    assert events[-1].WhichOneof("payload") == "finished"
    asked = len(fake.requests)
    _, error = await failing(models)
    assert (error.code, error.reason) == (Code.UNAVAILABLE, "STORAGE_FULL")
    assert error.facts.metadata == {"store": "postgres"}
    assert len(fake.requests) == asked
    await database.execute("DROP TRIGGER full_disk ON model.usage")
    with run_as(SOMEBODY, timeout=60.0):
        assert [event async for event in models.model.Generate(asking())]
    await models.usage(2)


def open_sockets() -> int:
    return len(psutil.Process().net_connections())
