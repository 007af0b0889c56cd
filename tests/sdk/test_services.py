"""Answers of the other services become plain Python values, in both clients."""

from datetime import UTC, datetime

import pytest
import somamesh
from soma.memory.v1 import memory_service_pb2 as memory
from soma.model.v1 import message_pb2
from soma.model.v1 import model_service_pb2 as generation
from soma.policy.v1 import policy_service_pb2 as policy
from somamesh import (
    Completion,
    Context,
    Document,
    Embeddings,
    Finding,
    Memory,
    Message,
    Model,
    Retrieval,
    Rule,
    Stored,
    TokenCount,
    ToolCall,
    Usage,
    UsageRecord,
    Verdict,
)

from tests.sdk.conftest import Server
from tests.sdk.drivers import Driver

NOW = datetime.fromtimestamp(1_700_000_000, UTC)


async def test_a_remembered_value_is_recalled_and_found_unchanged(server: Server, client: Driver) -> None:
    value = {"name": "Ada", "age": 3, "weight": 4.5, "likes": ["tuna", None, True], "home": {"floor": -1}}
    stored = await client.call("remember", "cats/ada", value, metadata={"category": "cats"}, ttl_seconds=60)
    assert stored == Stored("cats/ada", "v1", 384, None)
    assert server.memory.kept["cats/ada"].ttl_seconds == 60
    recalled = await client.call("recall", "cats/ada")
    assert recalled == Memory("cats/ada", value, {"category": "cats"}, None, NOW, 1, None)
    assert type(recalled.value["age"]) is int
    found = await client.call("retrieve", "a cat", top_k=3, score_threshold=0.5, where={"category": "cats"})
    ada = Memory("cats/ada", value, {"category": "cats"}, 0.75)
    assert found == Retrieval((ada,), "Tuna.", ("cats/ada",), degraded=True)
    assert (list(found), len(found), found[0]) == ([ada], 1, ada)
    request = memory.RetrieveRequest(query="a cat", top_k=3, score_threshold=0.5)
    request.filter.update({"category": "cats"})
    assert server.trouble.requests[-1] == request


@pytest.mark.parametrize("value", ["text", 3, 2.5, True, None, [], {}, 2**53, -0.25])
async def test_every_json_value_comes_back(client: Driver, value: object) -> None:
    await client.call("remember", "k", value)
    back = (await client.call("recall", "k")).value
    assert (back, type(back)) == (value, type(value))


@pytest.mark.parametrize("value", [object(), {1: "a"}, float("nan"), float("inf"), 2**53 + 1, b"bytes", [{2}]])
async def test_a_value_that_json_cannot_hold_exactly_is_refused_before_it_is_sent(
    server: Server, client: Driver, value: object
) -> None:
    with pytest.raises(ValueError, match="JSON"):
        await client.call("remember", "k", value)
    assert server.trouble.requests == []


async def test_a_key_that_was_never_remembered_is_not_found(client: Driver) -> None:
    with pytest.raises(somamesh.NotFoundError) as caught:
        await client.call("recall", "nothing")
    assert (caught.value.reason, caught.value.metadata) == ("MEMORY_NOT_FOUND", {"key": "nothing"})


async def test_forgetting_returns_whether_the_key_existed(server: Server, client: Driver) -> None:
    await client.call("remember", "k", 1)
    assert [await client.call("forget", "k"), await client.call("forget", "k")] == [True, False]
    assert server.memory.kept == {}


async def test_memories_are_listed_across_pages(server: Server, client: Driver) -> None:
    labels = {"category": "c", "tags": ["t"]}
    for key in ("a/3", "b/1", "a/1", "a/2"):
        await client.call("remember", key, {"n": 1}, metadata=labels)
    server.trouble.requests.clear()
    listed = await client.items("list_memories", "a/", category="c", tags=["t"], page_size=2)
    assert listed == [Memory(key, {"n": 1}, labels, None, NOW, 0, None, NOW) for key in ("a/1", "a/2", "a/3")]
    asked = memory.ListMemoriesRequest(prefix="a/", category="c", tags=["t"], page_size=2)
    assert server.trouble.requests[0] == asked
    assert len(server.trouble.requests) == 2


async def test_a_conversation_is_created_continued_and_read_page_by_page(server: Server, client: Driver) -> None:
    said = [Message("user", "Hi"), Message("assistant", "", tool_calls=(ToolCall("call_a", "look_up", "{}"),))]
    conversation = await client.call("create_conversation", said)
    assert conversation.id.startswith("conv_")
    assert conversation.last_sequence == 2
    assert (await client.call("append_messages", conversation.id, "More")).last_sequence == 3
    messages = await client.items("list_messages", conversation.id, page_size=2)
    assert messages == [
        Message("user", "Hi", sequence=1, created_at=NOW),
        Message("assistant", "", tool_calls=said[1].tool_calls, sequence=2, created_at=NOW),
        Message("user", "More", sequence=3, created_at=NOW),
    ]
    assert (await client.call("create_conversation", "Hi")).id != conversation.id


async def test_the_metadata_of_a_conversation_is_kept_with_its_first_message(client: Driver) -> None:
    said = [{"role": "user", "content": "Hi", "metadata": {"n": 1}}, {"role": "assistant", "content": "Hello"}]
    conversation = await client.call("create_conversation", messages=said, metadata={"user_id": "123"})
    first, second = await client.items("list_messages", conversation.id)
    assert (first.metadata, second.metadata) == ({"user_id": "123", "n": 1}, {})


async def test_a_conversation_is_forgotten(server: Server, client: Driver) -> None:
    conversation = await client.call("create_conversation", "Hi")
    await client.call("delete_conversation", conversation.id)
    assert conversation.id not in server.memory.said


async def test_a_conversation_without_a_message_is_refused_by_the_mesh(client: Driver) -> None:
    with pytest.raises(somamesh.InvalidRequestError) as caught:
        await client.call("create_conversation", [], metadata={"user_id": "123"})
    assert list(caught.value.fields) == ["messages"]


async def test_sending_a_message_to_a_conversation_is_a_turn(server: Server, client: Driver) -> None:
    answer = await client.call("send_message", conversation_id="c1", content="Hi", role="user", temperature=0.5)
    pieces, streamed = await client.stream("stream_completion", conversation_id="c1", content="Hi", temperature=0.5)
    assert ("".join(pieces), streamed) == (answer.text, answer)
    first, second = server.chat.requests
    assert (first.options.whole, second.options.whole) == (True, False)
    first.options.whole = False
    assert first == second
    assert (first.conversation_id, first.messages[0].content, first.options.sampling.temperature) == ("c1", "Hi", 0.5)


async def test_the_context_of_the_next_turn_can_be_asked_for(server: Server, client: Driver) -> None:
    await client.call("append_messages", "c1", "Hi")
    context = await client.call("get_context", "c1", current_message="cats", strategy="short_only", token_budget=50)
    assert context == Context(
        messages=(Message("user", "Hi", sequence=1, created_at=NOW),),
        documents=(Document("fact/1", "Tuna.", 0.5),),
        token_count=9,
        truncated=True,
        degraded=False,
    )
    assert server.trouble.requests[-1] == memory.GetContextRequest(
        conversation_id="c1", current_message="cats", strategy=memory.STRATEGY_SHORT_ONLY, token_budget=50
    )


async def test_models_are_listed_by_what_they_can_do(client: Driver) -> None:
    plain = Model("plain", "local", True, True, "", ("chat", "tools"), 4096, ("text", "image"))
    assert await client.call("list_models") == [plain]


async def test_a_prompt_is_completed(server: Server, client: Driver) -> None:
    completion = await client.call("infer", "On", model="plain", max_tokens=9, stop_sequences=["."], seed=1)
    assert completion == Completion(" and on", "plain", "stop", Usage(5, 2, 7), 0.25)
    assert server.trouble.requests == [
        generation.InferRequest(prompt="On", model="plain", max_tokens=9, stop_sequences=["."], seed=1)
    ]


async def test_texts_are_embedded_in_their_order(server: Server, client: Driver) -> None:
    assert await client.call("embed", ["a", "bcd"], normalize=False) == Embeddings(
        "vectors", ((1.0, 0.5), (3.0, 0.5)), 2, 2
    )
    assert (await client.call("embed", "ab")).vectors == ((2.0, 0.5),)


async def test_the_tokens_of_a_conversation_are_counted(server: Server, client: Driver) -> None:
    counted = await client.call("count_tokens", "Hello", model="plain")
    assert counted == TokenCount("plain", "local", 5, True)
    said = message_pb2.Message(role=message_pb2.ROLE_USER, content="Hello")
    assert server.trouble.requests == [generation.CountTokensRequest(model="plain", messages=[said])]


async def test_usage_is_listed_across_pages(server: Server, client: Driver) -> None:
    records = await client.items("list_usage", conversation="c1")
    assert [record.id for record in records] == ["g1", "g2", "g3"]
    assert records[0] == UsageRecord("g1", "", "plain", "local", "finished", "", Usage(0, 0, 1), "c1", NOW, 0.0, 0.0)
    assert len(server.trouble.requests) == 2


async def test_policy_is_asked_before_something_is_done(server: Server, client: Driver) -> None:
    verdict = await client.call("evaluate_policy", "chat.input", content="to e@x.y", resource="r", context={"n": 1})
    assert verdict == Verdict(
        decision="redact",
        rules=(Rule("pii.email", "redact", "an address"),),
        findings=(Finding("email", 3, 8, "pii.email"),),
        redacted_content="to [email]",
        risk=0.5,
        rules_version="abc",
    )
    assert not verdict.allowed
    request = policy.EvaluateRequest(action="chat.input", content="to e@x.y", resource="r")
    request.context.update({"n": 1})
    assert server.trouble.requests == [request]
