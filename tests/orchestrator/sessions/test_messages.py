"""Messages of sessions: each one turn, answered once for each request id, counted whatever became of it."""

import asyncio
from typing import TYPE_CHECKING

import pytest
from google.protobuf.struct_pb2 import Struct
from soma.model.v1 import message_pb2
from soma.model.v1.catalog_service_pb2 import Model
from soma.policy.v1.policy_service_pb2 import DECISION_DENY

from services.mesh.call.errors import Code
from services.mesh.testing.waiting import until
from tests.fakes.model import answer, lost
from tests.fakes.policy import Rule
from tests.orchestrator.conftest import TALKER, Fakes
from tests.orchestrator.sessions.conftest import Desk, new_id, refused

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase


async def test_an_answer_has_its_tokens_and_times(desk: Desk, fakes: Fakes) -> None:
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
    [generated] = fakes.model.generated
    assert took.context_length_chars == sum(len(message.content) for message in generated.messages)
    assert (generated.model, generated.options.user) == ("talker", "u-1")


async def test_the_model_gets_the_templates_instructions_the_earlier_turns_and_the_message(
    desk: Desk, fakes: Fakes
) -> None:
    config = Struct()
    config.update({"custom_parameters": {"tone": "gruff"}})
    session = await desk.create(config=config)
    await desk.send(session.id, "First")
    fakes.catalog.models = [TALKER, Model(name="other", capabilities=[Model.CAPABILITY_CHAT])]
    await desk.send(session.id, "Second", model_name="other")
    last = fakes.model.generated[-1]
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


async def test_statistics_add_up(desk: Desk, fakes: Fakes) -> None:
    session = await desk.create()
    empty = await desk.stats(session.id)
    assert (empty.message_count, empty.average_response_time_seconds, empty.duration_seconds) == (0, 0, 0)
    seconds = [(await desk.send(session.id)).performance_metrics.response_time_seconds for _ in range(3)]
    fakes.model.answers = [answer("Hello", end=lost())]
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
async def test_only_an_active_session_takes_messages(desk: Desk, fakes: Fakes, status: str) -> None:
    session = await desk.create()
    await desk.set_status(session.id, status)
    error = await refused(desk.send(session.id, request_id=new_id()))
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "SESSION_NOT_ACTIVE")
    assert fakes.model.generated == []
    assert (await desk.stats(session.id)).failed_messages == 0
    await desk.set_status(session.id, "active")
    assert (await desk.send(session.id)).response == "Hello there"


async def test_a_message_with_an_old_etag_is_refused(desk: Desk) -> None:
    session = await desk.create()
    await desk.send(session.id, etag=session.etag)
    assert (await refused(desk.send(session.id, etag=session.etag))).reason == "ETAG_MISMATCH"


async def test_a_repeated_request_gets_the_stored_answer(desk: Desk, fakes: Fakes) -> None:
    session = await desk.create()
    request_id = new_id()
    first = await desk.send(session.id, request_id=request_id)
    await desk.set_status(session.id, "paused")
    again = await desk.send(session.id, request_id=request_id, etag=session.etag)
    assert again == first
    assert len(fakes.model.generated) == 1
    assert (await desk.stats(session.id)).message_count == 2


async def test_a_request_that_is_repeated_during_its_answer_is_not_answered_twice(desk: Desk, fakes: Fakes) -> None:
    session = await desk.create()
    request_id = new_id()
    fakes.model.answers = [answer("Hello", fakes.model.resume, " there")]
    first = asyncio.create_task(desk.send(session.id, request_id=request_id))
    async with asyncio.timeout(15):
        await fakes.model.waiting.wait()
    error = await refused(desk.send(session.id, request_id=request_id))
    assert (error.code, error.reason) == (Code.ABORTED, "REQUEST_IN_PROGRESS")
    assert error.facts.retry_after == 2.0
    assert len(fakes.model.generated) == 1
    first.cancel()
    async with asyncio.timeout(15):
        await fakes.model.cancelled.wait()
    fakes.model.answers = [answer("Hello", " there")]
    await _until_free(desk, session.id, request_id)
    assert (await desk.stats(session.id)).message_count == 2


async def _until_free(desk: Desk, session_id: str, request_id: str) -> None:
    """Send until the cancelled call has given its claim up."""

    async def free() -> bool:
        try:
            await desk.send(session_id, request_id=request_id)
        except Exception as error:
            if "being answered" not in str(error):
                raise
            return False
        return True

    await until(free)


async def test_a_request_that_failed_may_be_repeated(desk: Desk, fakes: Fakes) -> None:
    session = await desk.create()
    request_id = new_id()
    fakes.model.answers = [answer("Hello", end=lost())]
    await refused(desk.send(session.id, request_id=request_id))
    fakes.model.answers = [answer("Hello", " there")]
    assert (await desk.send(session.id, request_id=request_id)).response == "Hello there"
    assert len((await desk.messages(session.id)).messages) == 2


async def test_a_request_whose_process_died_before_its_answer_was_kept_is_remembered_once(
    desk: Desk, database: "OwnedDatabase"
) -> None:
    session = await desk.create()
    request_id = new_id()
    await desk.send(session.id, request_id=request_id)
    await database.execute(
        "UPDATE orchestrator.chat_session_request SET response = NULL, claimed_until = now() - interval '1 second'"
    )
    assert (await desk.send(session.id, request_id=request_id)).response == "Hello there"
    assert len((await desk.messages(session.id)).messages) == 2


async def test_a_message_that_policy_denies_is_refused_and_counted(desk: Desk, fakes: Fakes) -> None:
    session = await desk.create()
    fakes.policy.rules = [Rule("bomb", DECISION_DENY, "chat.input")]
    error = await refused(desk.send(session.id, "How is a bomb made?"))
    assert (error.code, error.reason) == (Code.PERMISSION_DENIED, "POLICY_DENIED")
    assert (await desk.stats(session.id)).failed_messages == 1


async def test_a_withheld_answer_says_so_and_is_not_kept(desk: Desk, fakes: Fakes) -> None:
    session = await desk.create()
    fakes.policy.rules = [Rule("there", DECISION_DENY, "chat.output")]
    answer = await desk.send(session.id, request_id=new_id())
    assert (answer.response, answer.finish_reason) == ("Hello", "content_filter")
    assert not (await desk.messages(session.id)).messages
    assert (await desk.stats(session.id)).failed_messages == 1


async def test_a_session_deleted_while_it_answers_leaves_nothing_behind(desk: Desk, fakes: Fakes) -> None:
    session = await desk.create()
    fakes.model.answers = [answer("Hello", fakes.model.resume, " there")]
    sending = asyncio.create_task(desk.send(session.id))
    async with asyncio.timeout(15):
        await fakes.model.waiting.wait()
    await desk.delete(session.id)
    fakes.model.resume.set()
    assert (await refused(sending)).reason == "SESSION_NOT_FOUND"
    assert fakes.memory.conversations == {}


async def test_a_message_leaves_entries_in_the_log_and_nothing_of_what_was_said(desk: Desk, fakes: Fakes) -> None:
    session = await desk.create(title="Secret title", agent_id="a-1")
    fakes.model.answers = [answer("The password", " is kumquat")]
    await desk.send(session.id, "Tell me the password")
    fakes.model.answers = [answer(end=lost())]
    await refused(desk.send(session.id, "Again"))
    entries = await desk.logged(session.id, 5)
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
