"""A chat turn: the order of its steps, what each may change, and how it ends when one fails."""

import asyncio
import hashlib

import grpc
import pytest
from soma.memory.v1 import memory_service_pb2
from soma.model.v1 import message_pb2
from soma.model.v1.options_pb2 import GenerationOptions
from soma.orchestrator.v1 import chat_service_pb2 as pb
from soma.orchestrator.v1.log_service_pb2 import LogEntry, QueryLogsRequest
from soma.policy.v1 import policy_service_pb2

from services.mesh.call import errors
from services.mesh.call.call import run_as
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from tests.fakes.fake import away
from tests.fakes.model import answer, lost
from tests.fakes.policy import Rule
from tests.orchestrator.conftest import Fakes, Orchestrator


def request(text: str = "Hi", **fields: object) -> pb.ChatRequest:
    """A turn with one user message."""
    message = message_pb2.Message(role=message_pb2.ROLE_USER, content=text)
    return pb.ChatRequest(messages=[message], **fields)  # type: ignore[arg-type]


PICTURE = message_pb2.Part(image=message_pb2.Media(url="https://a.example/b.png"))


def text_part(value: str) -> message_pb2.Part:
    """A text as a part."""
    return message_pb2.Part(text=message_pb2.Text(text=value))


def shown(picture: message_pb2.Part) -> message_pb2.Message:
    """A user's message with a picture alone."""
    return message_pb2.Message(role=message_pb2.ROLE_USER, parts=[picture])


def result(call_id: str) -> message_pb2.Message:
    """The result of a tool call."""
    return message_pb2.Message(role=message_pb2.ROLE_TOOL, tool_call_id=call_id, content="42")


async def owners(orchestrator: Orchestrator) -> list[str]:
    """For whom bytes are kept."""
    return [row["owner"] for row in await orchestrator.pool.fetch("SELECT owner FROM mesh.blob_reference")]


async def take(orchestrator: Orchestrator, turn: pb.ChatRequest) -> list[pb.ChatResponse]:
    """All events of a turn."""
    with run_as(SOMEBODY, timeout=30):
        return [event async for event in orchestrator.chat.Chat(turn)]


def text(events: list[pb.ChatResponse]) -> str:
    """The answer."""
    return "".join(event.delta.text for event in events)


async def test_a_plain_turn_asks_policy_then_the_model_and_no_memory(orchestrator: Orchestrator, fakes: Fakes) -> None:
    events = await take(orchestrator, request())
    # No rule concerns the output, so policy is asked about its first piece only.
    assert fakes.happened == ["chat.input", "generate", "chat.output"]
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


async def test_each_piece_of_output_is_checked_if_a_rule_concerns_it(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.policy.rules = [Rule("4111", policy_service_pb2.DECISION_REDACT, "chat.output")]
    await take(orchestrator, request())
    assert fakes.happened == ["chat.input", "generate", "chat.output", "chat.output"]


async def test_texts_are_redacted_where_they_stand(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.policy.rules = [Rule("4111", policy_service_pb2.DECISION_REDACT)]
    parts = [text_part("a 4111"), PICTURE, text_part("b")]
    turn = pb.ChatRequest(
        messages=[
            message_pb2.Message(role=message_pb2.ROLE_USER, content="4111", parts=parts),
            message_pb2.Message(role=message_pb2.ROLE_USER, parts=[PICTURE]),
            message_pb2.Message(role=message_pb2.ROLE_USER, content="c 4111"),
        ]
    )
    await take(orchestrator, turn)
    assert list(fakes.model.generated[0].messages) == [
        message_pb2.Message(
            role=message_pb2.ROLE_USER,
            content="[REDACTED]",
            parts=[text_part("a [REDACTED]"), PICTURE, text_part("b")],
        ),
        message_pb2.Message(role=message_pb2.ROLE_USER, parts=[PICTURE]),
        message_pb2.Message(role=message_pb2.ROLE_USER, content="c [REDACTED]"),
    ]


async def test_a_rule_for_the_model_alone_applies_to_a_picture_without_text(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    await take(orchestrator, pb.ChatRequest(messages=[shown(PICTURE)]))
    assert fakes.happened[0] == "chat.input"


@pytest.mark.parametrize(
    "texts", [["x" * 1024 * 1024 + "x"], ["é" * 600_000], ["x" * 1_000_000] * 4], ids=["one", "bytes", "together"]
)
async def test_texts_that_policy_cannot_evaluate_are_refused(
    orchestrator: Orchestrator, fakes: Fakes, texts: list[str]
) -> None:
    turn = pb.ChatRequest(messages=[message_pb2.Message(role=message_pb2.ROLE_USER, content=text) for text in texts])
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await take(orchestrator, turn)
    error = from_rpc_error(failure.value)
    assert (error.reason, error.facts.violations[0].field) == ("MESSAGE_TOO_LONG", "messages")
    assert fakes.model.generated == []


async def test_ten_thousand_messages_are_refused_by_the_contract(orchestrator: Orchestrator) -> None:
    turn = request()
    turn.messages.extend([turn.messages[0]] * 9_999)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await take(orchestrator, turn)
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    violation = from_rpc_error(failure.value).facts.violations[0]
    assert (violation.field, "4096" in violation.description) == ("messages", True)


async def test_a_long_conversation_leaves_room_for_the_new_messages(orchestrator: Orchestrator, fakes: Fakes) -> None:
    for _ in range(3):
        turn = request("x", conversation_id="c", context_token_budget=1_000_000)
        turn.messages.extend([turn.messages[0]] * 1_999)
        await take(orchestrator, turn)
    assert len(fakes.model.generated[-1].messages) == 4094
    assert fakes.model.generated[-1].messages[-1].content == "x"


WHOLE = GenerationOptions(whole=True)


async def test_a_whole_answer_is_one_event(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.memory.facts["fact"] = "Biscuit is a dog."
    call = message_pb2.ToolCallDelta(call_id="c1", name="look", arguments="{}")
    fakes.model.answers = [answer("Hello", " there", call, end=message_pb2.FINISH_REASON_TOOL_CALLS)]
    (event,) = await take(orchestrator, request(conversation_id="c", options=WHOLE))
    whole = event.answer
    assert (whole.started.model, whole.started.provider, whole.started.conversation_id) == ("scripted", "local", "c")
    assert [source.key for source in whole.started.sources] == ["fact"]
    assert whole.delta == message_pb2.Delta(text="Hello there", tool_calls=[call])
    finished = whole.finished
    assert (finished.finish_reason, finished.usage.total_tokens) == (message_pb2.FINISH_REASON_TOOL_CALLS, 5)
    assert 0 < finished.time_to_first_token_seconds <= finished.duration_seconds
    assert finished.tokens_per_second == 0
    assert fakes.model.generated[0].options == WHOLE
    await orchestrator.delivered()
    kept = fakes.memory.conversations[("acme", "c")][-1]
    assert (kept.content, kept.tool_calls[0].call_id) == ("Hello there", "c1")


async def test_a_whole_answer_without_text_has_no_delta(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer()]
    (event,) = await take(orchestrator, request(options=WHOLE))
    assert not event.answer.HasField("delta")
    assert event.answer.finished.usage.total_tokens == 5


async def test_a_whole_answer_says_what_policy_changed(orchestrator: Orchestrator, fakes: Fakes) -> None:
    # The text is whole, so what is spread over pieces of the model is found.
    fakes.model.answers = [answer("is 41", "11")]
    fakes.policy.rules = [Rule("4111", policy_service_pb2.DECISION_REDACT)]
    (event,) = await take(orchestrator, request("my 4111", conversation_id="c", options=WHOLE))
    assert [notice.stage for notice in event.answer.policy] == ["input", "output"]
    assert event.answer.delta.text == "is [REDACTED]"
    await orchestrator.delivered()
    kept = [message.content for message in fakes.memory.conversations[("acme", "c")]]
    assert kept == ["my [REDACTED]", "is [REDACTED]"]


async def test_a_whole_answer_that_policy_withholds_is_counted_and_not_remembered(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.policy.rules = [Rule("there", policy_service_pb2.DECISION_DENY, "chat.output")]
    (event,) = await take(orchestrator, request(conversation_id="c", options=WHOLE))
    assert not event.answer.HasField("delta")
    finished = event.answer.finished
    assert (finished.finish_reason, finished.usage.total_tokens) == (message_pb2.FINISH_REASON_CONTENT_FILTER, 5)
    assert await orchestrator.pending.of("acme", "c") == []
    assert fakes.memory.conversations == {}


async def test_a_whole_answer_has_the_same_entries_in_the_log(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.policy.rules = [Rule("Hello", policy_service_pb2.DECISION_REDACT, "chat.output")]
    await take(orchestrator, request())
    await take(orchestrator, request(options=WHOLE))

    async def logged() -> list[LogEntry]:
        with run_as(SOMEBODY):
            entries = (await orchestrator.logs.QueryLogs(QueryLogsRequest())).logs
        return list(entries) if len(entries) == 6 else []

    await until(logged)
    messages = [(entry.message, entry.level, entry.task_status) for entry in await logged()]
    assert messages[:3] == messages[3:]
    assert [message for message, _, _ in reversed(messages[:3])] == [
        *("turn started", "policy on the output: redact", "turn finished")
    ]


async def test_a_failure_before_a_whole_answer_is_the_status(orchestrator: Orchestrator, fakes: Fakes) -> None:
    fakes.model.answers = [answer("Hello", end=lost())]
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await take(orchestrator, request(options=WHOLE))
    assert from_rpc_error(failure.value).reason == "PROVIDER_UNAVAILABLE"


THINKING = (
    message_pb2.ReasoningDelta(text="Let me"),
    message_pb2.ReasoningDelta(text=" see."),
    message_pb2.ReasoningDelta(signature="sig"),
)


@pytest.mark.parametrize("options", [GenerationOptions(), WHOLE], ids=["pieces", "whole"])
async def test_thoughts_and_citations_are_remembered_and_go_back_to_the_model(
    orchestrator: Orchestrator, fakes: Fakes, options: GenerationOptions
) -> None:
    cited = message_pb2.Delta(citations=[message_pb2.Citation(url="https://a.example", end=5)])
    call = message_pb2.ToolCallDelta(call_id="c1", name="look", arguments="{}", signature="mark")
    fakes.model.answers = [answer(*THINKING, "Hello", cited, call)]
    events = await take(orchestrator, request("One", conversation_id="c", options=options))
    deltas = [event.answer.delta if event.HasField("answer") else event.delta for event in events]
    thoughts = [piece for delta in deltas for piece in delta.reasoning]
    assert ("".join(each.text for each in thoughts), thoughts[-1].signature) == ("Let me see.", "sig")
    remembered = message_pb2.Message(
        role=message_pb2.ROLE_ASSISTANT,
        parts=[
            message_pb2.Part(reasoning=message_pb2.Reasoning(text="Let me see.", signature="sig", provider="local")),
            message_pb2.Part(text=message_pb2.Text(text="Hello", citations=cited.citations)),
        ],
        tool_calls=[message_pb2.ToolCall(call_id="c1", name="look", arguments="{}", signature="mark")],
    )
    turn = pb.ChatRequest(conversation_id="c", messages=[result("c1")])
    await take(orchestrator, turn)
    assert list(fakes.model.generated[1].messages) == [
        message_pb2.Message(role=message_pb2.ROLE_USER, content="One"),
        remembered,
        result("c1"),
    ]


async def test_an_answer_of_thoughts_alone_leaves_the_conversation_as_it_was(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.model.answers = [answer(*THINKING)]
    await take(orchestrator, request("One", conversation_id="c"))
    await orchestrator.delivered()
    assert [message.content for message in fakes.memory.conversations[("acme", "c")]] == ["One"]


async def asks_for(orchestrator: Orchestrator, fakes: Fakes, *calls: str, text: str = "") -> None:
    """A turn whose answer asks for tool calls."""
    pieces = [message_pb2.ToolCallDelta(index=n, call_id=each, name="look") for n, each in enumerate(calls)]
    fakes.model.answers = [answer(*([text] if text else []), *pieces), answer("Thanks.")]
    await take(orchestrator, request("How many?", conversation_id="c"))


async def test_a_result_that_answers_no_call_is_refused_by_its_name(orchestrator: Orchestrator, fakes: Fakes) -> None:
    await asks_for(orchestrator, fakes, "c1")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await take(orchestrator, pb.ChatRequest(conversation_id="c", messages=[result("c1"), result("c2")]))
    error = from_rpc_error(failure.value)
    assert (error.reason, error.facts.violations[0].field) == ("TOOL_CALL_NOT_FOUND", "messages")
    assert "'c2'" in error.message
    # The conversation goes on.
    events = await take(orchestrator, pb.ChatRequest(conversation_id="c", messages=[result("c1")]))
    assert text(events) == "Thanks."
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await take(orchestrator, pb.ChatRequest(conversation_id="c", messages=[result("c1")]))
    assert from_rpc_error(failure.value).reason == "TOOL_CALL_NOT_FOUND"


async def test_a_result_that_comes_twice_is_given_and_remembered_once(orchestrator: Orchestrator, fakes: Fakes) -> None:
    await asks_for(orchestrator, fakes, "c1", "c2")
    results = [result("c1"), result("c2"), result("c1")]
    await take(orchestrator, pb.ChatRequest(conversation_id="c", messages=results))
    assert list(fakes.model.generated[1].messages)[-2:] == results[:2]
    await orchestrator.delivered()
    assert list(fakes.memory.conversations[("acme", "c")])[2:4] == results[:2]


async def test_calls_that_do_not_fit_the_context_still_come_before_their_results(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    await asks_for(orchestrator, fakes, "c1", text="long " * 4000)
    await take(orchestrator, pb.ChatRequest(conversation_id="c", messages=[result("c1")]))
    calls, last = fakes.model.generated[1].messages
    assert (calls.tool_calls[0].call_id, last) == ("c1", result("c1"))


async def test_without_a_conversation_results_are_passed_on_as_they_are(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    messages = [message_pb2.Message(role=message_pb2.ROLE_USER, content="Hi"), result("c1"), result("c1")]
    await take(orchestrator, pb.ChatRequest(messages=messages))
    assert list(fakes.model.generated[0].messages) == messages


BYTES = b"the bytes of a picture"
HASH = hashlib.sha256(BYTES).hexdigest()


@pytest.mark.parametrize("kept", [True, False], ids=["conversation", "alone"])
async def test_bytes_are_held_during_a_turn_and_go_by_their_hash(
    orchestrator: Orchestrator, fakes: Fakes, kept: bool
) -> None:
    fakes.model.answers = [answer("Nice.", fakes.model.resume)]
    inline = message_pb2.Part(image=message_pb2.Media(data=BYTES, media_type="image/png"))
    turn = pb.ChatRequest(messages=[shown(inline)], conversation_id="c" if kept else "")
    taking = asyncio.create_task(take(orchestrator, turn))
    async with asyncio.timeout(10):
        await fakes.model.waiting.wait()
    hashed = message_pb2.Part(image=message_pb2.Media(hash=HASH, media_type="image/png"))
    assert list(fakes.model.generated[0].messages) == [shown(hashed)]
    assert await orchestrator.blobs.read("acme", HASH) == BYTES
    fakes.memory.failure = away()
    fakes.model.resume.set()
    await taking
    if kept:
        # Memory does not have the turn yet, so the bytes are kept for it.
        assert await owners(orchestrator) == [f"turn:{(await orchestrator.pending.of('acme', 'c'))[0].request_id}"]
        assert await orchestrator.blobs.read("acme", HASH) == BYTES
    fakes.memory.failure = None
    await orchestrator.delivered()
    assert await owners(orchestrator) == []
    with pytest.raises(errors.NotFound):
        await orchestrator.blobs.read("acme", HASH)
    if kept:
        assert fakes.memory.conversations[("acme", "c")][0] == shown(hashed)


async def test_bytes_that_a_client_names_by_their_hash_stay_until_the_turn_is_stored(
    orchestrator: Orchestrator, fakes: Fakes
) -> None:
    fakes.model.answers = [answer("Nice.", fakes.model.resume)]
    hashed = message_pb2.Part(image=message_pb2.Media(hash=HASH))
    async with orchestrator.blobs.hold("acme", BYTES):
        taking = asyncio.create_task(take(orchestrator, pb.ChatRequest(messages=[shown(hashed)], conversation_id="c")))
        async with asyncio.timeout(10):
            await fakes.model.waiting.wait()
    fakes.model.resume.set()
    assert (await taking)[-1].HasField("finished")


@pytest.mark.parametrize("tenant", ["acme", "other"])
async def test_bytes_that_the_tenant_does_not_have_are_refused_before_the_model_is_asked(
    orchestrator: Orchestrator, fakes: Fakes, tenant: str
) -> None:
    hashed = message_pb2.Part(image=message_pb2.Media(hash=HASH))
    async with orchestrator.blobs.hold(tenant, BYTES if tenant == "other" else b"other bytes"):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await take(orchestrator, pb.ChatRequest(messages=[shown(hashed)], conversation_id="c"))
    assert from_rpc_error(failure.value).reason == "MEDIA_NOT_FOUND"
    assert fakes.model.generated == []
