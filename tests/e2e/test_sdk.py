"""The Python client sees through what passes, and tells what does not."""

import asyncio
import uuid

import pytest
import somamesh
from somamesh import AsyncClient, Client

from services.mesh.testing.dialects import Behaviour
from services.mesh.testing.upstreams import FakeUpstream
from services.mesh.testing.waiting import until
from tests.e2e.scripted import ABSENT, MODEL
from tests.e2e.stack import Stack


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


async def test_a_failure_tells_its_reason_through_the_front_door(stack: Stack) -> None:
    async with AsyncClient(stack.url, stack.key) as soma:
        with pytest.raises(somamesh.NotFoundError) as caught:
            await soma.chat("Hi", model="no-such-model")
        assert caught.value.reason == "MODEL_NOT_FOUND"
        with pytest.raises(somamesh.UnavailableError) as gone:
            await soma.chat("Hi", model=ABSENT)
        assert gone.value.request_id.startswith("req_")
        with pytest.raises(somamesh.DeadlineError):
            await soma.chat("Hi", model=MODEL, timeout=0.001)


async def test_leaving_a_stream_reaches_the_model_server(stack: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(deltas=("a",) * 200, pause=0.05)
    async with AsyncClient(stack.url, stack.key) as soma:
        async with soma.stream_chat("Hi", model=MODEL) as answer:
            assert await anext(answer)

        async def left() -> bool:
            return upstream.left > 0

        await until(left)
