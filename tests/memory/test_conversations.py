"""Conversations: sequences without gaps, appends that happen once or not at all, messages that stay unchanged."""

import asyncio
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soma.memory.v1 import memory_service_pb2 as pb
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Message, ToolCall

from services.mesh.call import errors, page_token
from tests.memory.conftest import Memory, as_globex, assistant, refused, user
from tests.servers import PostgresServer
from tests.size import examples

MESSAGES = st.builds(
    Message,
    role=st.sampled_from([ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL]),
    content=st.text(max_size=200),
    name=st.text(max_size=20),
    tool_calls=st.lists(
        st.builds(
            ToolCall,
            call_id=st.text(max_size=10),
            name=st.text(min_size=1, max_size=10),
            arguments=st.text(max_size=30),
        ),
        max_size=3,
    ),
    tool_call_id=st.text(max_size=10),
)


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(appends=st.lists(st.lists(MESSAGES, min_size=1, max_size=5), min_size=1, max_size=4))
async def test_messages_come_back_exactly_and_in_order(memory: Memory, appends: list[list[Message]]) -> None:
    conversation = str(uuid.uuid4())
    count = 0
    for messages in appends:
        count += len(messages)
        assert await memory.say(conversation, *messages) == count
    turns = await memory.turns(conversation)
    assert [turn.message for turn in turns] == [message for messages in appends for message in messages]
    assert [turn.sequence for turn in turns] == list(range(1, count + 1))
    assert all(turn.HasField("create_time") for turn in turns)


async def test_concurrent_appends_leave_no_gap_and_stay_whole(memory: Memory) -> None:
    lasts = await asyncio.gather(
        *(memory.say("c", *(user(f"{caller}.{n}") for n in range(1 + caller % 4))) for caller in range(30))
    )
    turns = await memory.turns("c")
    assert [turn.sequence for turn in turns] == list(range(1, len(turns) + 1))
    for caller, last in enumerate(lasts):
        count = 1 + caller % 4
        contents = [turn.message.content for turn in turns[last - count : last]]
        assert contents == [f"{caller}.{n}" for n in range(count)]


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=12))
async def test_a_request_id_appends_once_also_if_it_is_repeated_concurrently(
    memory: Memory, calls: list[tuple[int, int]]
) -> None:
    conversation = str(uuid.uuid4())
    ids = [str(uuid.uuid4()) for _ in range(4)]
    lasts = await asyncio.gather(
        *(memory.say(conversation, *[user(ids[which])] * count, request_id=ids[which]) for which, count in calls)
    )
    turns = await memory.turns(conversation)
    assert [turn.sequence for turn in turns] == list(range(1, len(turns) + 1))
    for which in {which for which, _ in calls}:
        said = {last for last, (other, _) in zip(lasts, calls, strict=True) if other == which}
        mine = [turn.sequence for turn in turns if turn.message.content == ids[which]]
        assert len(said) == 1
        assert mine == list(range(mine[0], mine[-1] + 1))
        assert said == {mine[-1]}
        assert len(mine) in {count for other, count in calls if other == which}


async def test_a_request_id_repeated_much_later_gets_the_first_answer(memory: Memory) -> None:
    request_id = str(uuid.uuid4())
    assert await memory.say("c", user("one"), user("two"), request_id=request_id) == 2
    assert await memory.say("c", user("three")) == 3
    assert await memory.say("c", user("something else"), request_id=request_id.upper()) == 2
    assert [turn.message.content for turn in await memory.turns("c")] == ["one", "two", "three"]
    assert await memory.say("another", user("one"), request_id=request_id) == 1


async def test_an_append_that_fails_leaves_neither_turns_nor_a_gap(memory: Memory) -> None:
    await memory.say("c", user("one"))
    await memory.pool.execute("ALTER TABLE memory.passage ADD CHECK (text <> 'poison')")
    error = await refused(
        memory.stub.AppendMessages(
            pb.AppendMessagesRequest(conversation_id="c", messages=[user("two"), user("poison")])
        )
    )
    assert error.code is errors.Code.INTERNAL
    assert await memory.say("c", user("three")) == 2
    assert [turn.message.content for turn in await memory.turns("c")] == ["one", "three"]


async def test_pages_cover_a_conversation_once_and_in_order(memory: Memory) -> None:
    await memory.say("c", *(user(str(n)) for n in range(120)))
    seen: list[str] = []
    sizes: list[int] = []
    token = ""
    while True:
        page = await memory.stub.ListMessages(
            pb.ListMessagesRequest(conversation_id="c", page_size=0 if not token else 40, page_token=token)
        )
        seen += [turn.message.content for turn in page.messages]
        sizes.append(len(page.messages))
        token = page.next_page_token
        if not token:
            break
    assert seen == [str(n) for n in range(120)]
    assert sizes == [50, 40, 30]


async def test_a_page_ends_before_it_is_too_long_for_a_message(memory: Memory) -> None:
    for _ in range(3):
        await memory.say("c", user("x" * 1_500_000))
    first = await memory.stub.ListMessages(pb.ListMessagesRequest(conversation_id="c"))
    assert [turn.sequence for turn in first.messages] == [1, 2]
    rest = await memory.stub.ListMessages(pb.ListMessagesRequest(conversation_id="c", page_token=first.next_page_token))
    assert [turn.sequence for turn in rest.messages] == [3]
    assert not rest.next_page_token


@pytest.mark.parametrize("token", ["nonsense", "YWZ0ZXI6LTE=", "YWZ0ZXI6OTk5OTk5OTk5OTk5", "é"])
async def test_a_forged_page_token_is_refused(memory: Memory, token: str) -> None:
    await memory.say("c", user("one"))
    error = await refused(memory.stub.ListMessages(pb.ListMessagesRequest(conversation_id="c", page_token=token)))
    assert error.code is errors.Code.INVALID_ARGUMENT
    assert [violation.field for violation in error.facts.violations] == ["page_token"]


async def test_a_page_token_for_another_conversation_or_out_of_range_is_refused(memory: Memory) -> None:
    for conversation in ("c", "d"):
        await memory.say(conversation, user("one"), user("two"))
    asked = pb.ListMessagesRequest(conversation_id="c", page_size=1)
    given = (await memory.stub.ListMessages(asked)).next_page_token
    for conversation, token in (("d", given), ("c", page_token.write(asked, 2**31))):
        request = pb.ListMessagesRequest(conversation_id=conversation, page_token=token)
        assert (await refused(memory.stub.ListMessages(request))).reason == "PAGE_TOKEN_INVALID"


async def test_an_unknown_conversation_is_not_found(memory: Memory) -> None:
    error = await refused(memory.stub.ListMessages(pb.ListMessagesRequest(conversation_id="nowhere")))
    assert (error.code, error.reason) == (errors.Code.NOT_FOUND, "CONVERSATION_NOT_FOUND")


async def test_a_conversation_id_postgres_cannot_keep_is_refused(memory: Memory) -> None:
    error = await refused(
        memory.stub.AppendMessages(pb.AppendMessagesRequest(conversation_id="a\0b", messages=[user("one")]))
    )
    assert [violation.field for violation in error.facts.violations] == ["conversation_id"]


async def test_two_tenants_can_use_the_same_conversation_id(memory: Memory) -> None:
    request_id = str(uuid.uuid4())
    await memory.say("c", user("of acme"), request_id=request_id)
    with as_globex():
        error = await refused(memory.stub.ListMessages(pb.ListMessagesRequest(conversation_id="c")))
        assert error.code is errors.Code.NOT_FOUND
        context = await memory.stub.GetContext(pb.GetContextRequest(conversation_id="c", current_message="of acme"))
        assert not context.recent_messages
        assert not context.relevant_documents
        assert await memory.say("c", user("of globex"), request_id=request_id) == 1
    assert [turn.message.content for turn in await memory.turns("c")] == ["of acme"]


async def test_postgres_away_is_a_typed_error_and_nothing_acknowledged_is_lost(
    memory: Memory, postgres_server: PostgresServer
) -> None:
    await memory.say("c", user("before"))
    await postgres_server.stop()
    error = await refused(
        memory.stub.AppendMessages(pb.AppendMessagesRequest(conversation_id="c", messages=[user("meanwhile")]))
    )
    assert (error.code, error.reason) == (errors.Code.UNAVAILABLE, "POSTGRES_UNAVAILABLE")
    await postgres_server.start()
    await memory.say("c", assistant("after"))
    assert [turn.message.content for turn in await memory.turns("c")] == ["before", "after"]


async def test_conversations_are_listed_by_id_page_by_page_for_their_tenant_alone(memory: Memory) -> None:
    for number in range(5):
        await memory.say(f"c{number}", *(user(str(n)) for n in range(number + 1)))
    with as_globex():
        await memory.say("c0", user("of another tenant"))
    listed: list[tuple[str, int]] = []
    request = pb.ListConversationsRequest(page_size=2)
    for _ in range(3):
        page = await memory.stub.ListConversations(request)
        assert len(page.conversations) <= 2
        assert all(each.HasField("create_time") for each in page.conversations)
        listed += [(each.conversation_id, each.messages) for each in page.conversations]
        request.page_token = page.next_page_token
    assert request.page_token == ""
    assert listed == [(f"c{number}", number + 1) for number in range(5)]


async def test_an_exact_page_of_conversations_is_the_last_and_no_conversations_are_an_empty_one(memory: Memory) -> None:
    assert await memory.stub.ListConversations(pb.ListConversationsRequest()) == pb.ListConversationsResponse()
    await memory.say("c", user("one"))
    page = await memory.stub.ListConversations(pb.ListConversationsRequest(page_size=1))
    assert ([each.conversation_id for each in page.conversations], page.next_page_token) == (["c"], "")
    error = await refused(memory.stub.ListConversations(pb.ListConversationsRequest(page_token="made up")))
    assert error.reason == "PAGE_TOKEN_INVALID"


async def test_a_deleted_conversation_is_not_found_in_any_way_and_can_be_started_again(memory: Memory) -> None:
    await memory.say("c", user("The launch code is kumquat."), assistant("Noted."))
    await memory.indexed()
    deleted = await memory.stub.DeleteConversation(pb.DeleteConversationRequest(conversation_id="c"))
    assert deleted.deleted_messages == 2
    assert (await refused(memory.turns("c"))).reason == "CONVERSATION_NOT_FOUND"
    context = pb.GetContextRequest(conversation_id="c", current_message="What is the launch code?")
    found = await memory.stub.GetContext(context)
    assert (len(found.recent_messages), len(found.relevant_documents)) == (0, 0)
    assert await memory.say("c", user("Hello again.")) == 1


async def test_another_tenant_deletes_nothing(memory: Memory) -> None:
    await memory.say("c", user("mine"))
    with as_globex():
        deleted = await memory.stub.DeleteConversation(pb.DeleteConversationRequest(conversation_id="c"))
    assert deleted.deleted_messages == 0
    assert len(await memory.turns("c")) == 1
