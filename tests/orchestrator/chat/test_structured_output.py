"""Structured output is checked, repaired once, and never shown before it is known to fit."""

import json
from collections.abc import Sequence

import grpc
import pytest
from soma.model.v1 import message_pb2
from soma.model.v1.options_pb2 import GenerationOptions, ResponseFormat
from soma.orchestrator.v1 import chat_service_pb2 as pb

from services.mesh.call.call import run_as
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.orchestrator.chat.response_format import checker
from tests.fakes.model import answer, refusing
from tests.orchestrator.conftest import Fakes, Orchestrator

SCHEMA = '{"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}'
FORMAT = ResponseFormat(type=ResponseFormat.TYPE_JSON_SCHEMA, name="person", schema=SCHEMA)


async def take(orchestrator: Orchestrator, form: ResponseFormat, drop_params: bool = False) -> list[pb.ChatResponse]:
    message = message_pb2.Message(role=message_pb2.ROLE_USER, content="How old?")
    options = GenerationOptions(response_format=form, drop_params=drop_params)
    request = pb.ChatRequest(messages=[message], options=options)
    with run_as(SOMEBODY):
        return [event async for event in orchestrator.chat.Chat(request)]


def texts(events: Sequence[pb.ChatResponse]) -> list[str]:
    return [event.delta.text for event in events if event.HasField("delta")]


async def test_an_answer_that_matches_the_schema_is_passed_on_piece_by_piece(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.model.answers = [answer('{"age"', ": 7}")]
    events = await take(orchestrator, FORMAT)
    assert texts(events) == ['{"age"', ": 7}"]
    assert len(fakes.model.generated) == 1


@pytest.mark.parametrize("wrong", ["seven", '{"age": "seven"}', "{}", ""])
async def test_an_invalid_answer_is_withheld_and_the_model_is_asked_to_correct_it(
    orchestrator: Orchestrator, fakes: Fakes, wrong: str
) -> None:
    fakes.model.answers = [answer(wrong) if wrong else answer(), answer('{"age": 7}')]
    events = await take(orchestrator, FORMAT)
    assert texts(events) == ['{"age": 7}']
    assert [event.WhichOneof("payload") for event in events].count("started") == 1
    contents = [message.content for message in fakes.model.generated[1].messages]
    assert contents[:-1] == (["How old?", wrong] if wrong else ["How old?"])
    assert contents[-1].startswith("That answer is not valid: ")
    assert fakes.model.generated[1].options.response_format == FORMAT
    assert events[-1].finished.usage == message_pb2.Usage(prompt_tokens=6, completion_tokens=4, total_tokens=10)


async def test_a_refusal_is_passed_on_and_not_repaired(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer(refusing("I"), refusing(" cannot."))]
    events = await take(orchestrator, FORMAT)
    assert texts(events) == ["I", " cannot."]
    assert all(event.delta.refusal for event in events if event.HasField("delta"))
    assert len(fakes.model.generated) == 1


async def test_an_answer_that_is_still_invalid_after_its_correction_is_an_error(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.model.answers = [answer("[]")]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await take(orchestrator, ResponseFormat(type=ResponseFormat.TYPE_JSON_OBJECT))
    error = from_rpc_error(raised.value)
    assert error.reason == "OUTPUT_INVALID"
    assert "not an object" in error.message
    assert len(fakes.model.generated) == 2


async def test_an_invalid_schema_is_refused_before_a_model_is_asked(orchestrator: Orchestrator, fakes: Fakes) -> None:
    form = ResponseFormat(type=ResponseFormat.TYPE_JSON_SCHEMA, schema='{"type": "number or so"}')
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await take(orchestrator, form)
    error = from_rpc_error(raised.value)
    assert (error.reason, error.facts.violations[0].field) == ("INVALID_JSON_SCHEMA", "response_format")
    assert fakes.model.generated == []


async def test_an_answer_that_was_cut_short_is_passed_on_as_it_is(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer('{"age"', end=message_pb2.FINISH_REASON_LENGTH)]
    events = await take(orchestrator, FORMAT)
    assert texts(events) == ['{"age"']
    assert events[-1].finished.finish_reason == message_pb2.FINISH_REASON_LENGTH


async def test_an_answer_that_calls_a_tool_need_not_match_the_schema(orchestrator: Orchestrator, fakes: Fakes) -> None:
    call = message_pb2.ToolCallDelta(call_id="c1", name="look", arguments="{}")
    fakes.model.answers = [answer("Let me see.", call, end=message_pb2.FINISH_REASON_TOOL_CALLS)]
    events = await take(orchestrator, FORMAT)
    kinds = [event.WhichOneof("payload") for event in events]
    assert kinds == ["started", "delta", "delta", "finished"]


async def take_whole(orchestrator: Orchestrator) -> pb.ChatAnswer:
    message = message_pb2.Message(role=message_pb2.ROLE_USER, content="How old?")
    options = GenerationOptions(response_format=FORMAT, whole=True)
    with run_as(SOMEBODY):
        (event,) = [
            event async for event in orchestrator.chat.Chat(pb.ChatRequest(messages=[message], options=options))
        ]
    return event.answer


async def test_a_whole_answer_that_does_not_fit_is_repaired(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer("seven"), answer('{"age"', ": 7}")]
    whole = await take_whole(orchestrator)
    assert whole.delta.text == '{"age": 7}'
    assert whole.finished.usage.total_tokens == 10
    assert [request.options.whole for request in fakes.model.generated] == [True, True]


async def test_a_whole_answer_whose_repair_does_not_fit_either_is_an_error(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.model.answers = [answer("seven")]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await take_whole(orchestrator)
    assert from_rpc_error(raised.value).reason == "OUTPUT_INVALID"


async def test_a_whole_answer_that_calls_a_tool_need_not_fit(orchestrator: Orchestrator, fakes: Fakes) -> None:
    call = message_pb2.ToolCallDelta(call_id="c1", name="look", arguments="{}")
    fakes.model.answers = [answer("Let me see.", call, end=message_pb2.FINISH_REASON_TOOL_CALLS)]
    assert (await take_whole(orchestrator)).delta.tool_calls[0].call_id == "c1"
    assert len(fakes.model.generated) == 1


async def test_a_format_the_provider_was_not_asked_for_is_not_checked(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.unsupported = ["response_format"]
    assert texts(await take(orchestrator, FORMAT, drop_params=True)) == ["Hello", " there"]


@pytest.mark.parametrize(
    "schema",
    [
        '{"$ref": "http://127.0.0.1:1/schema"}',
        '{"not":' * 500 + "{}" + "}" * 500,
        '{"type": "string", "pattern": "("}',
    ],
)
def test_a_schema_can_neither_load_other_documents_nor_exhaust_the_process(schema: str) -> None:
    with pytest.raises(Exception, match="Invalid schema for response_format"):
        checker(ResponseFormat(type=ResponseFormat.TYPE_JSON_SCHEMA, schema=schema))


@pytest.mark.parametrize("pattern", ["^(a+)+$", r"^(?=(a+)+$)(a|aa)+\1$"])
def test_a_slow_pattern_does_not_block_the_process(pattern: str) -> None:
    schema = json.dumps({"pattern": pattern})
    check = checker(ResponseFormat(type=ResponseFormat.TYPE_JSON_SCHEMA, schema=schema))
    assert check is not None
    assert check('"' + "a" * 5000 + '!"') is not None
