"""Messages of sessions: each one turn, answered once for each request id, counted whatever became of it."""

import asyncio
from typing import TYPE_CHECKING

import pytest
from google.protobuf.struct_pb2 import Struct
from soma.model.v1 import message_pb2

from services.mesh.call.errors import Code
from services.mesh.testing.local import SOMEBODY
from tests.orchestrator.neighbours import Script
from tests.orchestrator.sessions.conftest import Desk, new_id, refused

if TYPE_CHECKING:
    from services.mesh.stores.postgres import Pool


async def test_an_answer_says_what_it_took(desk: Desk, script: Script) -> None:
    session = await desk.create(model_name="talker", user_id="u-1")
    answer = await desk.send(session.id, "How are you?")
    assert (answer.session_id, answer.response, answer.model) == (session.id, "Hello there", "scripted")
    assert (answer.message_id, answer.finish_reason) == ("g-1", "stop")
    took = answer.performance_metrics
    assert (took.prompt_tokens, took.response_tokens, took.total_tokens) == (3, 2, 5)
    assert took.model_name == "scripted"
    assert 0 < took.prompt_eval_time_seconds <= took.response_time_seconds < 10
    assert took.prompt_eval_time_seconds + took.generation_time_seconds <= took.response_time_seconds
    assert took.load_time_seconds == 0
    assert took.timestamp.seconds > 0
    [generated] = script.generated
    assert took.context_length_chars == sum(len(message.content) for message in generated.messages)
    assert (generated.model, generated.user) == ("talker", "u-1")


async def test_the_model_hears_the_templates_instructions_the_turns_before_and_the_message(
    desk: Desk, script: Script
) -> None:
    config = Struct()
    config.update({"custom_parameters": {"tone": "gruff"}})
    session = await desk.create(config=config)
    await desk.send(session.id, "First")
    await desk.send(session.id, "Second", model_name="other")
    last = script.generated[-1]
    assert last.model == "other"
    assert [message.role for message in last.messages] == [
        message_pb2.ROLE_SYSTEM,
        message_pb2.ROLE_USER,
        message_pb2.ROLE_ASSISTANT,
        message_pb2.ROLE_USER,
    ]
    assert "gruff" in last.messages[0].content
    assert [message.content for message in last.messages][1:] == ["First", "Hello there", "Second"]


async def test_messages_are_listed_in_order_with_what_they_were_sent_with(desk: Desk) -> None:
    session = await desk.create()
    assert not (await desk.messages(session.id)).messages
    metadata = Struct()
    metadata.update({"priority": "high", "tags": ["email"]})
    await desk.send(session.id, "First", metadata=metadata)
    await desk.send(session.id, "Second")
    page = await desk.messages(session.id, page_size=3)
    assert [(each.sequence, each.role, each.content) for each in page.messages] == [
        (1, "user", "First"),
        (2, "assistant", "Hello there"),
        (3, "user", "Second"),
    ]
    assert page.messages[0].metadata == metadata
    assert not page.messages[2].HasField("metadata")
    rest = await desk.messages(session.id, page_size=3, page_token=page.next_page_token)
    assert [each.sequence for each in rest.messages] == [4]
    assert not rest.next_page_token


async def test_statistics_add_up(desk: Desk, script: Script) -> None:
    session = await desk.create()
    empty = await desk.stats(session.id)
    assert (empty.message_count, empty.average_response_time_seconds, empty.duration_seconds) == (0, 0, 0)
    seconds = [(await desk.send(session.id)).performance_metrics.response_time_seconds for _ in range(3)]
    script.fail_after = 1
    assert (await refused(desk.send(session.id))).reason == "PROVIDER_UNAVAILABLE"
    stats = await desk.stats(session.id)
    assert (stats.message_count, stats.user_messages, stats.assistant_messages, stats.failed_messages) == (6, 3, 3, 1)
    assert (stats.prompt_tokens, stats.response_tokens, stats.total_tokens) == (9, 6, 15)
    assert stats.total_response_time_seconds == pytest.approx(sum(seconds))
    assert stats.average_response_time_seconds == pytest.approx(sum(seconds) / 3)
    assert stats.average_tokens_per_second > 0
    assert stats.duration_seconds > 0
    shown = await desk.get(session.id)
    assert shown.message_count == 6
    assert shown.last_message_at == stats.last_message_at


@pytest.mark.parametrize("status", ["paused", "completed", "archived"])
async def test_only_an_active_session_takes_messages(desk: Desk, script: Script, status: str) -> None:
    session = await desk.create()
    await desk.set_status(session.id, status)
    error = await refused(desk.send(session.id, request_id=new_id()))
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "SESSION_NOT_ACTIVE")
    assert script.generated == []
    assert (await desk.stats(session.id)).failed_messages == 0
    await desk.set_status(session.id, "active")
    assert (await desk.send(session.id)).response == "Hello there"


async def test_a_message_may_insist_that_nothing_was_said_since(desk: Desk) -> None:
    session = await desk.create()
    await desk.send(session.id, etag=session.etag)
    assert (await refused(desk.send(session.id, etag=session.etag))).reason == "ETAG_MISMATCH"


async def test_a_repeated_request_is_answered_from_what_is_kept(desk: Desk, script: Script) -> None:
    session = await desk.create()
    request_id = new_id()
    first = await desk.send(session.id, request_id=request_id)
    await desk.set_status(session.id, "paused")
    again = await desk.send(session.id, request_id=request_id, etag=session.etag)
    assert again == first
    assert len(script.generated) == 1
    assert (await desk.stats(session.id)).message_count == 2


async def test_while_a_request_is_being_answered_it_is_not_answered_twice(desk: Desk, script: Script) -> None:
    session = await desk.create()
    request_id = new_id()
    script.stall_after = 1
    first = asyncio.create_task(desk.send(session.id, request_id=request_id))
    async with asyncio.timeout(5):
        await script.stalled.wait()
    error = await refused(desk.send(session.id, request_id=request_id))
    assert (error.code, error.reason) == (Code.ABORTED, "REQUEST_IN_PROGRESS")
    assert error.facts.retry_after == 2.0
    assert len(script.generated) == 1
    first.cancel()
    async with asyncio.timeout(5):
        await script.cancelled.wait()
    script.stall_after = None
    await _until_free(desk, session.id, request_id)
    assert (await desk.stats(session.id)).message_count == 2


async def _until_free(desk: Desk, session_id: str, request_id: str) -> None:
    """Send until the cancelled call has given its claim up."""
    async with asyncio.timeout(5):
        while True:
            try:
                await desk.send(session_id, request_id=request_id)
            except Exception as error:
                if "being answered" not in str(error):
                    raise
                await asyncio.sleep(0.01)
            else:
                return


async def test_a_request_that_failed_may_be_repeated(desk: Desk, script: Script) -> None:
    session = await desk.create()
    request_id = new_id()
    script.fail_after = 1
    await refused(desk.send(session.id, request_id=request_id))
    script.fail_after = None
    assert (await desk.send(session.id, request_id=request_id)).response == "Hello there"
    assert len((await desk.messages(session.id)).messages) == 2


async def test_a_request_whose_process_died_before_its_answer_was_kept_is_remembered_once(
    desk: Desk, database: "Pool"
) -> None:
    session = await desk.create()
    request_id = new_id()
    await desk.send(session.id, request_id=request_id)
    await database.execute(
        "UPDATE orchestrator.chat_session_request SET response = NULL, claimed_until = now() - interval '1 second'"
    )
    assert (await desk.send(session.id, request_id=request_id)).response == "Hello there"
    assert len((await desk.messages(session.id)).messages) == 2


async def test_what_policy_denies_is_refused_and_counted(desk: Desk, script: Script) -> None:
    session = await desk.create()
    script.denied = "bomb"
    error = await refused(desk.send(session.id, "How is a bomb made?"))
    assert (error.code, error.reason) == (Code.PERMISSION_DENIED, "POLICY_DENIED")
    assert (await desk.stats(session.id)).failed_messages == 1


async def test_a_withheld_answer_says_so_and_is_not_kept(desk: Desk, script: Script) -> None:
    session = await desk.create()
    script.withheld = "there"
    answer = await desk.send(session.id, request_id=new_id())
    assert (answer.response, answer.finish_reason) == ("Hello", "content_filter")
    assert not (await desk.messages(session.id)).messages
    assert (await desk.stats(session.id)).failed_messages == 1


async def test_a_session_deleted_while_it_answers_leaves_nothing_behind(desk: Desk, script: Script) -> None:
    session = await desk.create()
    script.stall_after = 1
    sending = asyncio.create_task(desk.send(session.id))
    async with asyncio.timeout(5):
        await script.stalled.wait()
    await desk.delete(session.id)
    script.resume.set()
    assert (await refused(sending)).reason == "SESSION_NOT_FOUND"
    assert script.conversations == {}


async def test_a_message_leaves_entries_in_the_log_and_nothing_of_what_was_said(desk: Desk, script: Script) -> None:
    session = await desk.create(title="Secret title", agent_id="a-1")
    script.words = ["The password", " is kumquat"]
    await desk.send(session.id, "Tell me the password")
    script.fail_after = 0
    await refused(desk.send(session.id, "Again"))
    await desk.writer.flush()
    entries = await desk.log.after(SOMEBODY.tenant_id, session.id, (0, 0), 100)
    assert [(entry.message, entry.level, entry.task_status) for entry in entries] == [
        ("session created", "info", ""),
        ("turn started", "info", "running"),
        ("turn finished", "info", "completed"),
        ("turn started", "info", "running"),
        ("turn failed: PROVIDER_UNAVAILABLE", "error", "failed"),
    ]
    assert {(entry.task_id, entry.agent_id, entry.source) for entry in entries} == {(session.id, "a-1", "session")}
    assert entries[2].attributes["completion_tokens"] == "2"
    assert entries[4].attributes["code"] == "UNAVAILABLE"
    everything = str(entries)
    assert not any(word in everything for word in ("password", "kumquat", "Secret"))
