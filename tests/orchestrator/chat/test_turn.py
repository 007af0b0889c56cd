"""A chat turn: the order of its steps, what each may change, and how it ends when one fails."""

import asyncio

import grpc
import pytest
from soma.memory.v1 import memory_service_pb2
from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2 as pb
from soma.policy.v1 import policy_service_pb2

from services.mesh.call.call import run_as
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from tests.fakes.model import answer, lost
from tests.fakes.policy import Rule
from tests.orchestrator.conftest import Fakes, Orchestrator


def request(text: str = "Hi", **fields: object) -> pb.ChatRequest:
    """A turn with one user message."""
    message = message_pb2.Message(role=message_pb2.ROLE_USER, content=text)
    return pb.ChatRequest(messages=[message], **fields)  # type: ignore[arg-type]


async def take(orchestrator: Orchestrator, turn: pb.ChatRequest) -> list[pb.ChatResponse]:
    """All events of a turn."""
    with run_as(SOMEBODY, timeout=30):
        return [event async for event in orchestrator.chat.Chat(turn)]


def text(events: list[pb.ChatResponse]) -> str:
    """The answer."""
    return "".join(event.delta.text for event in events)


async def test_a_plain_turn_asks_policy_then_the_model_and_no_memory(orchestrator: Orchestrator, fakes: Fakes) -> None:
    events = await take(orchestrator, request())
    assert fakes.happened == ["chat.input", "generate", "chat.output", "chat.output"]
    assert [event.WhichOneof("payload") for event in events] == ["started", "delta", "delta", "finished"]
    assert [event.sequence for event in events] == [0, 1, 2, 3]
    assert text(events) == "Hello there"
    finished = events[-1].finished
    assert finished.usage.total_tokens == 5
    assert 0 < finished.time_to_first_token_seconds <= finished.duration_seconds
    assert finished.tokens_per_second > 0


async def test_a_conversation_brings_in_memory_and_keeps_the_turn(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.memory.facts["fact"] = "Biscuit is a dog."
    await take(orchestrator, request("My dog is Biscuit.", conversation_id="c"))
    events = await take(orchestrator, request("Who is Biscuit?", conversation_id="c"))
    assert events[0].started.remembered_messages == 2
    assert [s.key for s in events[0].started.sources] == ["fact"]
    contents = [m.content for m in fakes.model.generated[1].messages]
    assert contents == ["My dog is Biscuit.", "Hello there", "Who is Biscuit?"]
    assert [s.text for s in fakes.model.generated[1].sources] == ["Biscuit is a dog."]
    await orchestrator.delivered()
    kept = fakes.memory.conversations[("acme", "c")]
    assert [m.role for m in kept] == [message_pb2.ROLE_USER, message_pb2.ROLE_ASSISTANT] * 2


async def test_a_turn_that_is_repeated_is_remembered_once_in_its_conversation(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    same = "00000000-0000-4000-8000-000000000007"
    for conversation, request_id in (("c", same), ("c", same), ("d", same), ("c", "")):
        # More than memory takes at once.
        turn = request("Hi", conversation_id=conversation, request_id=request_id)
        turn.messages.extend([turn.messages[0]] * 299)
        await take(orchestrator, turn)
    await orchestrator.delivered()
    kept = {conversation: len(turns) for (_, conversation), turns in fakes.memory.conversations.items()}
    assert kept == {"c": 2 * 301, "d": 301}


async def test_instructions_come_first_and_are_not_kept(orchestrator: Orchestrator, fakes: Fakes) -> None:
    await take(orchestrator, request("One", conversation_id="c"))
    turn = request("Two", conversation_id="c")
    turn.messages.insert(0, message_pb2.Message(role=message_pb2.ROLE_SYSTEM, content="Be brief."))
    await take(orchestrator, turn)
    assert [m.content for m in fakes.model.generated[1].messages] == ["Be brief.", "One", "Hello there", "Two"]
    await orchestrator.delivered()
    assert "Be brief." not in [m.content for m in fakes.memory.conversations[("acme", "c")]]


async def test_a_strategy_without_a_conversation_brings_in_facts_and_keeps_nothing(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.memory.facts["fact"] = "Biscuit is a dog."
    await take(orchestrator, request(strategy=memory_service_pb2.STRATEGY_LONG_ONLY))
    assert "context" in fakes.happened
    assert "append" not in fakes.happened
    assert fakes.model.generated[0].sources[0].key == "fact"


async def test_denied_input_never_reaches_the_model(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.policy.rules = [Rule("forbidden", policy_service_pb2.DECISION_DENY, "chat.input", rule_id="scripted")]
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await take(orchestrator, request("a forbidden word"))
    error = from_rpc_error(failure.value)
    assert failure.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error.reason == "POLICY_DENIED"
    assert error.facts.metadata["rule"] == "scripted"
    assert fakes.model.generated == []


async def test_redacted_input_is_what_the_model_sees_and_memory_keeps(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.policy.rules = [Rule("4111", policy_service_pb2.DECISION_REDACT)]
    events = await take(orchestrator, request("my card is 4111", conversation_id="c"))
    assert fakes.model.generated[0].messages[-1].content == "my card is [REDACTED]"
    notices = [event.policy for event in events if event.WhichOneof("payload") == "policy"]
    assert [(n.stage, n.decision) for n in notices] == [("input", policy_service_pb2.DECISION_REDACT)]
    await orchestrator.delivered()
    assert fakes.memory.conversations[("acme", "c")][0].content == "my card is [REDACTED]"


async def test_redacted_output_is_what_the_client_sees_and_memory_keeps(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.model.answers = [answer("the key", " is 4111", " ok")]
    fakes.policy.rules = [Rule("4111", policy_service_pb2.DECISION_REDACT)]
    events = await take(orchestrator, request(conversation_id="c"))
    assert text(events) == "the key is [REDACTED] ok"
    await orchestrator.delivered()
    assert fakes.memory.conversations[("acme", "c")][-1].content == "the key is [REDACTED] ok"


async def test_withheld_output_ends_the_turn_and_the_generation(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer("fine", " secret", *[" never"] * 1000)]
    fakes.policy.rules = [Rule("secret", policy_service_pb2.DECISION_DENY, "chat.output")]
    events = await take(orchestrator, request())
    assert text(events) == "fine"
    assert events[-1].finished.finish_reason == message_pb2.FINISH_REASON_CONTENT_FILTER
    async with asyncio.timeout(15):
        await fakes.model.cancelled.wait()


async def test_a_failure_after_the_first_event_is_a_typed_error_and_the_status(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.model.answers = [answer("Hello", end=lost())]
    events: list[pb.ChatResponse] = []

    async def collect() -> None:
        async for event in orchestrator.chat.Chat(request(conversation_id="c")):
            events.append(event)

    with run_as(SOMEBODY, timeout=30), pytest.raises(grpc.aio.AioRpcError) as failure:
        await collect()
    assert [event.WhichOneof("payload") for event in events] == ["started", "delta", "error"]
    assert events[-1].error.reason == "PROVIDER_UNAVAILABLE"
    assert events[-1].error.retry_after_seconds == 2.0
    assert events[-1].sequence == 2
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert from_rpc_error(failure.value).reason == "PROVIDER_UNAVAILABLE"
    assert ("acme", "c") not in fakes.memory.conversations


async def test_a_client_that_leaves_cancels_the_generation_and_keeps_nothing(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.model.answers = [answer("Hello", fakes.model.resume)]
    with run_as(SOMEBODY, timeout=30):
        stream = orchestrator.chat.Chat(request(conversation_id="c"))
        await stream.read()
        await fakes.model.waiting.wait()
        stream.cancel()
    async with asyncio.timeout(15):
        await fakes.model.cancelled.wait()
    await until(lambda: orchestrator.mesh.drain.active == 0)
    assert fakes.memory.conversations == {}


async def test_a_turn_without_messages_is_refused_by_the_contract(orchestrator: Orchestrator) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await take(orchestrator, pb.ChatRequest())
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert from_rpc_error(failure.value).facts.violations[0].field == "messages"


async def test_many_messages_are_inspected_in_one_question(orchestrator: Orchestrator, fakes: Fakes) -> None:
    turn = pb.ChatRequest(
        messages=[message_pb2.Message(role=message_pb2.ROLE_USER, content=f"line {n}") for n in range(50)]
    )
    await take(orchestrator, turn)
    assert fakes.happened.count("chat.input") == 1


async def test_a_message_that_holds_the_separator_is_redacted_where_it_stands(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.policy.rules = [Rule("4111", policy_service_pb2.DECISION_REDACT)]
    contents = ["a\x1eb", "4111"]
    turn = pb.ChatRequest(
        messages=[message_pb2.Message(role=message_pb2.ROLE_USER, content=content) for content in contents]
    )
    await take(orchestrator, turn)
    assert [m.content for m in fakes.model.generated[0].messages] == ["a\x1eb", "[REDACTED]"]
