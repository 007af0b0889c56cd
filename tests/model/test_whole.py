"""An answer that is asked for whole is one event, and costs one document of the vendor."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator

import grpc
import orjson
import pytest
from soma.model.v1.cost_service_pb2 import UsageRecord
from soma.model.v1.message_pb2 import FINISH_REASON_STOP, FINISH_REASON_TOOL_CALLS, Media, ToolCallDelta
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerateResponse, InferRequest

from services.mesh.call.call import run_as
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.model.testing.dialects import Behaviour, Fault, OpenAIDialect
from services.model.testing.upstreams import FakeUpstream
from tests.model.conftest import Models, Serving, asking

# A picture of one pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
async def fake() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(OpenAIDialect()) as fake:
        yield fake


@pytest.fixture
async def models(serving: Serving, fake: FakeUpstream) -> AsyncIterator[Models]:
    async with serving([fake], whole_timeout=0.6) as models:
        yield models


def whole(text: str = "Hello?", model: str = "fake-large") -> GenerateRequest:
    request = asking(text, model)
    request.options.whole = True
    return request


async def generate(models: Models, request: GenerateRequest) -> list[GenerateResponse]:
    with run_as(SOMEBODY):
        return [event async for event in models.model.Generate(request)]


async def test_it_is_one_event_from_one_document(models: Models, fake: FakeUpstream) -> None:
    calls = (("c1", "weather", ('{"city":', '"Rome"}')), ("c2", "time", ("{}",)))
    fake.behaviour = Behaviour(tool_calls=calls)
    (event,) = await generate(models, whole())
    assert "stream" not in fake.requests[0] and "stream_options" not in fake.requests[0]
    answer = event.answer
    assert (answer.started.model, answer.started.provider) == ("fake-large", "openai")
    assert answer.delta.text == "Hello there!"
    assert list(answer.delta.tool_calls) == [
        ToolCallDelta(index=0, call_id="c1", name="weather", arguments='{"city":"Rome"}'),
        ToolCallDelta(index=1, call_id="c2", name="time", arguments="{}"),
    ]
    assert answer.finished.finish_reason == FINISH_REASON_TOOL_CALLS
    assert (answer.finished.usage.prompt_tokens, answer.finished.usage.completion_tokens) == (11, 3)
    assert not answer.finished.usage.estimated
    (record,) = await models.usage()
    assert record.generation_id == answer.started.generation_id
    assert (record.outcome, record.usage) == (UsageRecord.OUTCOME_FINISHED, answer.finished.usage)


async def test_a_refusal_is_marked(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(deltas=(), refusal=("I can", "not."))
    (event,) = await generate(models, whole())
    assert (event.answer.delta.text, event.answer.delta.refusal) == ("I cannot.", True)


async def test_an_answer_without_text_has_no_delta(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(deltas=())
    (event,) = await generate(models, whole())
    assert not event.answer.HasField("delta")
    assert event.answer.finished.finish_reason == FINISH_REASON_STOP


async def test_a_vendor_that_streams_anyway_is_read_as_a_stream(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(streams_anyway=True, tool_calls=(("c1", "f", ('{"a"', ":1}")),))
    (event,) = await generate(models, whole())
    assert event.answer.delta.text == "Hello there!"
    assert [call.arguments for call in event.answer.delta.tool_calls] == ['{"a":1}']


@pytest.mark.parametrize("model", ["soma-extract-v1", "somasuite-markov-v1"])
async def test_a_local_model_answers_in_one_event_too(models: Models, model: str) -> None:
    (event,) = await generate(models, whole("My dog is called Biscuit.", model))
    assert event.answer.delta.text
    assert event.answer.finished.usage.completion_tokens > 0


async def test_infer_has_the_whole_text(models: Models, fake: FakeUpstream) -> None:
    with run_as(SOMEBODY):
        inferred = await models.model.Infer(InferRequest(prompt="The sea", max_tokens=5, seed=1))
    assert inferred.completion
    assert inferred.finish_reason == "length"
    assert inferred.usage.completion_tokens == 5


async def test_it_may_take_longer_than_the_first_byte_of_a_stream_and_shows_life(
    serving: Serving, fake: FakeUpstream
) -> None:
    fake.behaviour = Behaviour(deltas=("a", "b", "c"), pause=0.15)
    async with serving([fake], heartbeat_interval=0.1, whole_timeout=5.0) as models:
        events = await generate(models, whole())
    assert all(event.HasField("heartbeat") for event in events[:-1]) and len(events) > 1
    assert events[-1].answer.delta.text == "abc"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.HANG, "PROVIDER_TIMEOUT"),
        (Fault.HANG_MID, "PROVIDER_TIMEOUT"),
        (Fault.RESET_MID, "PROVIDER_STREAM_CUT"),
        (Fault.CUT_MID, "PROVIDER_STREAM_CUT"),
        (Fault.GARBAGE, "PROVIDER_PROTOCOL_ERROR"),
        (Fault.NOT_A_STREAM, "PROVIDER_PROTOCOL_ERROR"),
        (Fault.ERROR_MID, "PROVIDER_UNAVAILABLE"),
        (Fault.RATE_LIMITED, "PROVIDER_RATE_LIMITED"),
    ],
)
async def test_a_failure_before_it_is_the_status_of_the_call(
    models: Models, fake: FakeUpstream, fault: Fault, reason: str
) -> None:
    fake.behaviour = Behaviour(fault=fault)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await generate(models, whole())
    assert from_rpc_error(raised.value).reason == reason
    (record,) = await models.usage()
    assert (record.outcome, record.error_reason) == (UsageRecord.OUTCOME_FAILED, reason)


async def test_cancelling_ends_the_vendors_work(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(fault=Fault.HANG)
    with run_as(SOMEBODY):
        call = models.model.Generate(whole())
        reading = asyncio.ensure_future(anext(aiter(call)))
        await fake.until(open=1)
        call.cancel()
        async with asyncio.timeout(1.0):
            await fake.until(open=0, left=1)
        await asyncio.gather(reading, return_exceptions=True)
    (record,) = await models.usage()
    assert record.outcome == UsageRecord.OUTCOME_CANCELLED


async def test_a_picture_of_the_request_reaches_the_vendor(models: Models, fake: FakeUpstream) -> None:
    request = whole()
    picture = b64decode(PNG)
    request.messages[0].parts.add().image.CopyFrom(Media(data=picture, media_type="image/png"))
    await generate(models, request)
    text, image = fake.requests[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "Hello?"}
    assert image == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}


async def test_blank_lines_before_the_answer_are_no_beginning_of_it(models: Models, fake: FakeUpstream) -> None:
    document = orjson.dumps(OpenAIDialect().whole(Behaviour(), "fake-large"))
    # Between two writes are more seconds than a stream may be silent.
    fake.behaviour = Behaviour(sent=(b"\n", b"\n", document), pause=0.4)
    (event,) = await generate(models, whole())
    assert event.answer.delta.text == "Hello there!"
