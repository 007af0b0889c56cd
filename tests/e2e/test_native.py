"""Native gRPC through the public port, with the generated stubs of every public service."""

import uuid

import grpc
import pytest
from google.protobuf.struct_pb2 import Value
from soma.memory.v1 import memory_service_pb2 as memory
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from soma.model.v1 import cost_service_pb2 as cost
from soma.model.v1 import model_service_pb2 as model
from soma.model.v1.cost_service_pb2_grpc import CostServiceStub
from soma.model.v1.message_pb2 import ROLE_USER, Message
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub
from soma.orchestrator.v1.chat_service_pb2 import ChatResponse
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub
from soma.policy.v1 import policy_service_pb2 as policy
from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceStub

from services.mesh.call.status import from_rpc_error
from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import MODEL
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.surfaces import request, usage


async def test_a_chat_is_a_numbered_stream_with_usage_and_times_on_its_final_event(
    stack: Stack, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=("one ", "two ", "three"), pause=0.03)
    call = ChatServiceStub(channel).Chat(request("count"), metadata=stack.metadata, timeout=CALL_SECONDS)
    received: list[ChatResponse] = [event async for event in call]
    assert [event.sequence for event in received] == list(range(len(received)))
    assert received[0].started.model == MODEL
    assert "".join(event.delta.text for event in received) == "one two three"
    finished = received[-1].finished
    assert finished.usage.total_tokens == 14
    assert 0 < finished.time_to_first_token_seconds <= finished.duration_seconds
    assert finished.tokens_per_second > 0


async def test_policy_redacts_a_card_number_before_the_model_sees_it(
    stack: Stack, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    asked = request("my card is 4111 1111 1111 1111")
    call = ChatServiceStub(channel).Chat(asked, metadata=stack.metadata, timeout=CALL_SECONDS)
    notices = [event.policy async for event in call if event.HasField("policy")]
    assert [(notice.stage, notice.decision) for notice in notices] == [("input", policy.DECISION_REDACT)]
    assert "4111" not in upstream.requests[-1]["messages"][-1]["content"]
    answer = await PolicyServiceStub(channel).Evaluate(
        policy.EvaluateRequest(action="chat.input", content="my card is 4111 1111 1111 1111"),
        metadata=stack.metadata,
        timeout=CALL_SECONDS,
    )
    assert answer.decision == policy.DECISION_REDACT
    assert [finding.kind for finding in answer.findings] == ["payment_card"]
    assert "4111" not in answer.redacted_content


async def test_memory_keeps_a_value_under_its_key_and_finds_it_by_meaning(
    stack: Stack, channel: grpc.aio.Channel
) -> None:
    stub = MemoryServiceStub(channel)
    key = f"native/{uuid.uuid4()}"
    stored = await stub.Remember(
        memory.RememberRequest(key=key, value=Value(string_value="The lighthouse keeper is called Ingrid.")),
        metadata=stack.metadata,
        timeout=CALL_SECONDS,
    )
    assert (stored.status, stored.embedding_dimensions) == ("stored", 384)
    recalled = await stub.Recall(memory.RecallRequest(key=key), metadata=stack.metadata, timeout=CALL_SECONDS)
    assert recalled.value.string_value == "The lighthouse keeper is called Ingrid."

    async def found_by_meaning() -> bool:
        # A fact stored while the embedding model still loads gets its vectors a moment later.
        found = await stub.Retrieve(
            memory.RetrieveRequest(query="who keeps the lighthouse?", score_threshold=0.3),
            metadata=stack.metadata,
            timeout=CALL_SECONDS,
        )
        return key in found.sources and not found.degraded

    await until(found_by_meaning)


async def test_texts_of_one_meaning_have_near_vectors(stack: Stack, channel: grpc.aio.Channel) -> None:
    answer = await ModelServiceStub(channel).Embed(
        model.EmbedRequest(input=["a small cat", "a little kitten", "quarterly tax report"]),
        metadata=stack.metadata,
        timeout=CALL_SECONDS,
    )
    assert answer.vector_length == 384
    cat, kitten, tax = (vector.embedding for vector in answer.vectors)

    def cosine(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert cosine(list(cat), list(kitten)) > cosine(list(cat), list(tax)) + 0.3


async def test_a_seeded_local_model_repeats_itself(stack: Stack, channel: grpc.aio.Channel) -> None:
    asked = model.InferRequest(prompt="The mesh", max_tokens=12, seed=7)
    stub = ModelServiceStub(channel)
    first = await stub.Infer(asked, metadata=stack.metadata, timeout=CALL_SECONDS)
    second = await stub.Infer(asked, metadata=stack.metadata, timeout=CALL_SECONDS)
    assert first.completion == second.completion != ""


async def test_a_generation_has_one_row_in_the_ledger_with_its_cost(
    stack: Stack, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    conversation = f"ledger-{uuid.uuid4()}"
    asked = model.GenerateRequest(
        model=MODEL, messages=[Message(role=ROLE_USER, content="hello")], conversation_id=conversation
    )
    call = ModelServiceStub(channel).Generate(asked, metadata=stack.metadata, timeout=CALL_SECONDS)
    received = [event async for event in call]
    (row,) = await usage(channel, stack, conversation)
    assert row.generation_id == received[0].started.generation_id
    assert (row.outcome, row.provider, row.usage.total_tokens) == (cost.UsageRecord.OUTCOME_FINISHED, "scripted", 14)


async def test_the_ledger_is_read_page_by_page(stack: Stack, channel: grpc.aio.Channel) -> None:
    conversation = f"pages-{uuid.uuid4()}"
    for _ in range(3):
        call = ChatServiceStub(channel).Chat(
            request("hello", conversation=conversation), metadata=stack.metadata, timeout=CALL_SECONDS
        )
        assert [event async for event in call][-1].HasField("finished")
    await usage(channel, stack, conversation, rows=3)
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        page = await CostServiceStub(channel).ListUsage(
            cost.ListUsageRequest(conversation_id=conversation, page_size=2, page_token=token),
            metadata=stack.metadata,
            timeout=CALL_SECONDS,
        )
        pages.append([record.generation_id for record in page.records])
        token = page.next_page_token
    assert [len(page) for page in pages] == [2, 1]
    assert len({each for page in pages for each in page}) == 3


async def test_a_deadline_ends_the_call_and_the_upstreams_work(
    stack: Stack, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=["x"] * 1000, pause=0.05)
    conversation = f"deadline-{uuid.uuid4()}"
    call = ChatServiceStub(channel).Chat(
        request("hello", conversation=conversation), metadata=stack.metadata, timeout=2
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in call:
            pass
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await upstream.until(open=0, left=1)
    (row,) = await usage(channel, stack, conversation)
    assert row.outcome in (cost.UsageRecord.OUTCOME_FAILED, cost.UsageRecord.OUTCOME_CANCELLED)
    assert 1 < row.duration_seconds < 10


async def test_a_request_that_breaks_its_contract_names_the_field(stack: Stack, channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await MemoryServiceStub(channel).Recall(
            memory.RecallRequest(key=""), metadata=stack.metadata, timeout=CALL_SECONDS
        )
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in from_rpc_error(raised.value).facts.violations] == ["key"]
