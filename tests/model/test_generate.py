"""Generate with a vendor without faults."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from soma.model.v1.cost_service_pb2 import UsageRecord
from soma.model.v1.message_pb2 import FINISH_REASON_STOP
from soma.model.v1.model_service_pb2 import GenerateResponse

from services.mesh.call.call import run_as
from services.mesh.testing.local import SOMEBODY
from services.model.testing.dialects import AnthropicDialect, Behaviour, Fault, OpenAIDialect
from services.model.testing.upstreams import FakeUpstream
from tests.model.conftest import Models, Serving, asking

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

pytestmark = pytest.mark.usefixtures("nothing_left")

# How often something is timed: one that is quick shows that it can be.
ATTEMPTS = 5


@pytest.fixture(params=[OpenAIDialect, AnthropicDialect])
async def fake(request: pytest.FixtureRequest) -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(request.param()) as fake:
        yield fake


@pytest.fixture
async def models(serving: Serving, fake: FakeUpstream) -> AsyncIterator[Models]:
    async with serving([fake]) as models:
        yield models


def text_of(events: list[GenerateResponse]) -> str:
    return "".join(event.delta.text for event in events)


async def test_a_stream_has_a_start_all_text_and_the_vendors_usage(models: Models, fake: FakeUpstream) -> None:
    with run_as(SOMEBODY):
        events = [event async for event in models.model.Generate(asking())]
    assert [event.sequence for event in events] == list(range(len(events)))
    assert events[0].started.model == "fake-large"
    assert text_of(events) == "Hello there!"
    finished = events[-1].finished
    assert finished.finish_reason == FINISH_REASON_STOP
    assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == (11, 3)
    assert 0 < finished.time_to_first_token_seconds <= finished.duration_seconds
    (record,) = await models.usage()
    assert record.generation_id == events[0].started.generation_id
    assert record.outcome == UsageRecord.OUTCOME_FINISHED
    assert (record.tenant_id, record.subject, record.model) == ("acme", "alex", "fake-large")
    assert record.usage == finished.usage


async def test_usage_is_estimated_when_the_vendor_reports_none(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(deltas=("x" * 40,), usage=False)
    with run_as(SOMEBODY):
        events = [event async for event in models.model.Generate(asking("y" * 80))]
    assert events[-1].finished.usage.prompt_tokens == 20
    assert events[-1].finished.usage.completion_tokens == 10


async def test_the_record_is_written_before_the_final_event(models: Models, database: "OwnedDatabase") -> None:
    with run_as(SOMEBODY):
        async for event in models.model.Generate(asking()):
            if event.HasField("finished"):
                assert await database.fetchval("SELECT count(*) FROM model.usage") == 1
                return
    pytest.fail("it never finished")


async def test_cancelling_ends_the_vendors_work_within_100_ms(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(fault=Fault.HANG_MID)
    clock = asyncio.get_running_loop().time
    seconds = []
    for attempt in range(1, ATTEMPTS + 1):
        with run_as(SOMEBODY):
            call = models.model.Generate(asking())
            async for event in call:
                if event.HasField("delta"):
                    break
            cancelled = clock()
            call.cancel()
            async with asyncio.timeout(10):
                await fake.until(open=0, left=attempt)
        seconds.append(clock() - cancelled)
    assert min(seconds) < 0.1
    for record in await models.usage(ATTEMPTS):
        assert record.outcome == UsageRecord.OUTCOME_CANCELLED
        assert record.usage.completion_tokens > 0


async def test_silence_is_filled_with_heartbeats(serving: Serving, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(deltas=("a", "b"), pause=0.1)
    async with serving([fake], heartbeat_interval=0.03) as models:
        with run_as(SOMEBODY):
            events = [event async for event in models.model.Generate(asking())]
    assert events[0].HasField("started")
    assert any(event.HasField("heartbeat") for event in events)
    assert text_of(events) == "ab"
    assert events[-1].HasField("finished")
