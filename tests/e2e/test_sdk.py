"""The Python client retries temporary errors, and raises all others."""

import asyncio
import json
import uuid

import pytest
import somamesh
from somamesh import AsyncClient, Client

from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import ABSENT, MODEL
from tests.e2e.stack import Stack
from tests.sdk.drivers import driving


async def test_a_read_is_answered_although_its_service_was_killed_meanwhile(split: Stack) -> None:
    key = f"killed/{uuid.uuid4()}"
    async with AsyncClient(split.url, split.key, timeout=60, max_retries=60) as soma:
        await soma.remember(key, "kept")
        killed = split.kill("serve-memory")
        assert (await soma.recall(key)).value == "kept"
    await split.restarted("serve-memory", killed)


async def test_a_conversation_lasts_from_one_client_to_the_other(stack: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(deltas=("No", "ted."))

    def begin() -> tuple[str, list[str]]:
        with Client(stack.url, stack.key) as soma:
            conversation = soma.create_conversation("I am Kim.")
            with soma.stream_completion(conversation.id, "I live in Oslo.", model=MODEL) as answer:
                return conversation.id, list(answer)

    conversation, pieces = await asyncio.to_thread(begin)
    assert "".join(pieces) == "Noted."
    async with AsyncClient(stack.url, stack.key) as soma:
        answer = await soma.send_message(conversation, "Who am I?", model=MODEL)
        said = [message.content async for message in soma.list_messages(conversation, page_size=1)]

        async def charged() -> bool:
            return answer.id in [record.id async for record in soma.list_usage(conversation=conversation)]

        await until(charged)
    assert [message["content"] for message in upstream.requests[-1]["messages"]][-4:] == [
        "I am Kim.",
        "I live in Oslo.",
        "Noted.",
        "Who am I?",
    ]
    assert said[:3] == ["I am Kim.", "I live in Oslo.", "Noted."]


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_places_that_an_answer_refers_to_are_its_citations(
    stack: Stack, upstream: FakeUpstream, streamed: bool
) -> None:
    place = {"start_index": 0, "end_index": 4, "url": "https://a.b", "title": "A page"}
    delta = {"content": "Tea.", "annotations": [{"type": "url_citation", "url_citation": place}]}
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}]}
    upstream.behaviour = Behaviour(sent=[b"data: %s\n\n" % json.dumps(chunk).encode(), b"data: [DONE]\n\n"])
    async with AsyncClient(stack.url, stack.key) as soma:
        if streamed:
            async with soma.stream_chat("Hi", model=MODEL) as stream:
                assert "".join([piece async for piece in stream]) == "Tea."
                answer = await stream.answer()
        else:
            answer = await soma.chat("Hi", model=MODEL)
    assert [(cited.url, cited.title, cited.start, cited.end) for cited in answer.citations] == [
        ("https://a.b", "A page", 0, 4)
    ]
    # Who does not stream gets the answer whole.
    assert bool(upstream.requests[-1].get("stream")) == streamed


async def test_an_error_has_its_reason_through_the_public_port(stack: Stack) -> None:
    async with AsyncClient(stack.url, stack.key) as soma:
        with pytest.raises(somamesh.NotFoundError) as caught:
            await soma.chat("Hi", model="no-such-model")
        assert caught.value.reason == "MODEL_NOT_FOUND"
        with pytest.raises(somamesh.UnavailableError) as gone:
            await soma.chat("Hi", model=ABSENT)
        assert gone.value.request_id.startswith("req_")
        with pytest.raises(somamesh.DeadlineError):
            await soma.chat("Hi", model=MODEL, timeout=0.001)


async def test_a_client_that_disconnects_ends_the_request_to_the_model_server(
    stack: Stack, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=("a",) * 200, pause=0.05)
    async with AsyncClient(stack.url, stack.key) as soma:
        async with soma.stream_chat("Hi", model=MODEL) as answer:
            assert await anext(answer)

        async def left() -> bool:
            return upstream.left > 0

        await until(left)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_session_is_created_used_and_deleted(stack: Stack, upstream: FakeUpstream, kind: str) -> None:
    upstream.behaviour = Behaviour(deltas=("Hello", " Kim."))
    async with driving(kind, stack.url, stack.key) as client:
        session = await client.call("create_session", model=MODEL, title="Kim", config={"note": 1})
        reply = await client.call("send_session_message", session.id, "I am Kim.", metadata={"from": "phone"})
        assert (reply.text, reply.model, reply.finish_reason) == ("Hello Kim.", MODEL, "stop")
        assert 0 < reply.performance.generation_time <= reply.performance.response_time

        said = await client.items("list_session_messages", session.id, page_size=1)
        assert [(message.role, message.content) for message in said] == [
            ("user", "I am Kim."),
            ("assistant", "Hello Kim."),
        ]
        assert said[0].metadata == {"from": "phone"}
        stats = await client.call("get_session_stats", session.id)
        assert (stats.user_messages, stats.total_tokens) == (1, reply.performance.total_tokens)

        paused = await client.call("set_session_status", session.id, "paused")
        assert (paused.status, paused.title, paused.config) == ("paused", "Kim", {"note": 1})
        with pytest.raises(somamesh.ConflictError) as changed:
            await client.call("set_session_status", session.id, "active", etag=session.etag)
        assert changed.value.reason == "ETAG_MISMATCH"
        with pytest.raises(somamesh.InvalidRequestError) as refused:
            await client.call("send_session_message", session.id, "Hello?")
        assert refused.value.reason == "SESSION_NOT_ACTIVE"
        assert session.id in [each.id for each in await client.items("list_sessions", status="paused")]

        await client.call("delete_session", session.id)
        with pytest.raises(somamesh.NotFoundError):
            await client.call("get_session", session.id)


async def test_the_templates_and_models_for_sessions_are_listed(stack: Stack) -> None:
    async with AsyncClient(stack.url, stack.key) as soma:
        templates = await soma.list_session_templates()
        assert [each for each in templates if each.default]
        assert MODEL in [model.name for model in await soma.list_session_models()]


async def test_the_log_of_a_session_is_followed_during_its_turns_and_read_afterwards(
    stack: Stack, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=("Hello.",))
    async with AsyncClient(stack.url, stack.key) as soma:
        session = await soma.create_session(model=MODEL)
        async with asyncio.timeout(15), soma.tail_logs(task=session.id) as tail:
            created = await anext(tail)
            await soma.send_session_message(session.id, "a secret")
            said = await anext(tail)
        assert (created.message, created.task) == ("session created", session.id)
        kept = [entry async for entry in soma.list_logs(task=session.id, page_size=1)]
        assert [entry.id for entry in kept][-2:] == [said.id, created.id]
        async with asyncio.timeout(15), soma.tail_logs(task=session.id, after=created.id) as resumed:
            assert await anext(resumed) == said
        assert "secret" not in str(kept)


async def test_a_tail_whose_deadline_passes_raises_an_error(stack: Stack) -> None:
    async with AsyncClient(stack.url, stack.key) as soma:
        with pytest.raises(somamesh.DeadlineError):
            async for _ in soma.tail_logs(task="nothing", timeout=0.3):
                continue


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_response_is_continued_made_in_the_background_cancelled_and_deleted(
    stack: Stack, upstream: FakeUpstream, kind: str
) -> None:
    upstream.behaviour = Behaviour(deltas=("No", "ted."))
    async with driving(kind, stack.url, stack.key) as client:
        first = await client.call("create_response", "I am Kim.", model=MODEL, metadata={"from": "phone"})
        assert (first.state, first.text, first.metadata) == ("completed", "Noted.", {"from": "phone"})
        pieces, second = await client.respond("Who am I?", model=MODEL, previous=first.id)
        assert ("".join(pieces), second.previous) == ("Noted.", first.id)
        said = [message["content"] for message in upstream.requests[-1]["messages"]]
        assert said == ["I am Kim.", "Noted.", "Who am I?"]
        assert await client.call("get_response", second.id) == second

        upstream.behaviour = Behaviour(deltas=("a",) * 200, pause=0.05)
        begun = await client.call("create_response", "Go on.", model=MODEL, background=True)
        assert begun.state == "in_progress"
        assert (await client.call("cancel_response", begun.id)).state == "cancelled"

        await client.call("delete_response", first.id)
        with pytest.raises(somamesh.NotFoundError):
            await client.call("get_response", first.id)
        with pytest.raises(somamesh.InvalidRequestError) as refused:
            await client.call("create_response", "And now?", model=MODEL, previous=second.id)
        assert refused.value.reason == "PREVIOUS_RESPONSE_NOT_FOUND"
