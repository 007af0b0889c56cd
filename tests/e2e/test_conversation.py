"""Turns over different surfaces belong to the same conversation."""

import uuid

import grpc
import httpx
from soma.memory.v1.memory_service_pb2 import ListMessagesRequest
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub

from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.surfaces import over_grpc, over_openai, over_rest, received_messages


async def test_each_turn_knows_the_turns_before_it_on_every_surface(
    stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    conversation = f"surfaces-{uuid.uuid4()}"
    upstream.behaviour = Behaviour(deltas=("Noted.",))
    assert (await over_openai(http, "I am Kim.", conversation=conversation)).finished
    upstream.behaviour = Behaviour(deltas=("In Oslo.",))
    assert (await over_grpc(channel, stack, "I live in Oslo.", conversation=conversation)).finished
    upstream.behaviour = Behaviour(deltas=("Kim, in Oslo.",))
    assert (await over_rest(http, "Who am I, and where?", conversation=conversation)).finished
    assert received_messages(upstream) == [
        ("user", "I am Kim."),
        ("assistant", "Noted."),
        ("user", "I live in Oslo."),
        ("assistant", "In Oslo."),
        ("user", "Who am I, and where?"),
    ]
    upstream.behaviour = Behaviour(deltas=("Bye.",))
    assert (await over_openai(http, "Bye!", conversation=conversation, stream=False)).text == "Bye."
    assert len(received_messages(upstream)) == 7


async def test_the_local_model_answers_from_the_conversation_without_any_provider(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    conversation, model = f"local-{uuid.uuid4()}", "soma-extract-v1"
    assert (await over_openai(http, "My tortoise is called Bertha.", model=model, conversation=conversation)).finished
    answer = await over_openai(http, "What is my tortoise called?", model=model, conversation=conversation)
    assert answer.finished
    assert "Bertha" in answer.text


async def test_a_turn_without_a_conversation_is_neither_given_memory_nor_remembered(
    stack: Stack, http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    secret = f"the word is {uuid.uuid4()}"
    assert (await over_openai(http, secret)).finished
    assert (await over_openai(http, "what is the word?")).finished
    assert secret not in str(upstream.requests[-1]["messages"])


async def test_a_conversation_can_be_listed_in_order(
    stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel
) -> None:
    conversation = f"listed-{uuid.uuid4()}"
    for text in ("one", "two"):
        assert (await over_rest(http, text, conversation=conversation)).finished
    answer = await http.get(f"/v1/memory/conversations/{conversation}/messages")
    listed = [each["message"]["content"] for each in answer.json()["messages"]]
    # The last turn reaches memory just after its client has received its end.
    assert listed[:3] == ["one", "Hello there!", "two"][: len(listed)]
    assert (await over_rest(http, "three", conversation=conversation)).finished
    page = await MemoryServiceStub(channel).ListMessages(
        ListMessagesRequest(conversation_id=conversation), metadata=stack.metadata, timeout=CALL_SECONDS
    )
    contents = [each.message.content for each in page.messages]
    assert contents[:4] == ["one", "Hello there!", "two", "Hello there!"]
    assert [each.sequence for each in page.messages] == list(range(1, len(contents) + 1))
