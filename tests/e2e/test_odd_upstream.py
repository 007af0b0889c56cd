"""Unusual answers of a model server reach the client unchanged, or as a typed error."""

import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.surfaces import Turn, over_messages, over_openai, over_responses, over_rest, received_messages
from tests.model.fuzz.mutations import singles
from tests.model.fuzz.oracle import verdict
from tests.model.fuzz.recordings import RECORDINGS, Recording
from tests.size import Size


def events(*chunks: dict[str, Any], ascii: bool = True) -> list[bytes]:
    """These chunks as OpenAI's events, with the normal end."""
    written = [json.dumps(chunk, ensure_ascii=ascii).encode() for chunk in chunks]
    return [b"data: %s\n\n" % each for each in written] + [b"data: [DONE]\n\n"]


async def test_a_failure_inside_a_stream_is_not_an_answer_and_is_not_remembered(
    http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    conversation = f"odd-{uuid.uuid4()}"
    begun = {"choices": [{"index": 0, "delta": {"content": "Half an ans"}}]}
    end = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
    failed = {"error": {"code": 502, "message": "the engine died"}, "choices": [end]}
    upstream.behaviour = Behaviour(sent=events(begun, failed))
    turn = await over_openai(http, "hello", conversation=conversation)
    assert (turn.text, turn.finished, turn.reason) == ("Half an ans", False, "PROVIDER_UNAVAILABLE")
    upstream.behaviour = Behaviour()
    assert (await over_openai(http, "again", conversation=conversation)).finished
    assert received_messages(upstream) == [("user", "again")]


async def test_a_conversation_with_instructions_and_what_is_remembered_has_one_system_message(
    http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    conversation = f"odd-{uuid.uuid4()}"
    for text in ("My tortoise is called Bertha.", "What is my tortoise called?"):
        said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
        body = {"model": "fake-large", "conversation": conversation, "messages": said}
        answer = await http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200
    roles = [message["role"] for message in upstream.requests[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert upstream.requests[-1]["messages"][0]["content"].startswith("Be brief.")


CHUNKS = [
    {"choices": [{"index": 0, "delta": {"content": "Grüße aus "}}]},
    {"choices": [{"index": 0, "delta": {"content": "Łódź"}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]
USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}


@pytest.mark.parametrize("stream", [True, False])
async def test_other_line_ends_comments_and_characters_in_two_writes_change_no_answer(
    http: httpx.AsyncClient, upstream: FakeUpstream, stream: bool
) -> None:
    noisy = b": PROCESSING\r\n\r\n" + b"".join(b": ping\n" + event for event in events(*CHUNKS, ascii=False))
    noisy = noisy.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    for size in (1, 7):
        upstream.behaviour = Behaviour(sent=[noisy[at : at + size] for at in range(0, len(noisy), size)])
        turn = await over_openai(http, "hello", stream=stream)
        assert (turn.text, turn.finished) == ("Grüße aus Łódź", True)


@pytest.mark.parametrize(
    ("chunks", "estimated"),
    [
        ([*CHUNKS, {"choices": [], "usage": USAGE}, {"choices": [], "usage": USAGE}], False),
        ([*CHUNKS[:-1], {**CHUNKS[-1], "usage": USAGE}], False),
        ([{**chunk, "usage": USAGE} for chunk in CHUNKS], False),
        (CHUNKS, True),
    ],
    ids=["twice", "with the last choice", "with every choice", "never"],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_gets_the_usage_once_wherever_the_provider_sent_it(
    openai: AsyncOpenAI, upstream: FakeUpstream, chunks: list[dict[str, Any]], estimated: bool, stream: bool
) -> None:
    upstream.behaviour = Behaviour(sent=events(*chunks))
    asked: Any = [{"role": "user", "content": "hello"}]
    if stream:
        answer = await openai.chat.completions.create(
            model="fake-large", messages=asked, stream=True, stream_options={"include_usage": True}
        )
        (usage,) = [chunk.usage async for chunk in answer if chunk.usage is not None]
    else:
        whole = await openai.chat.completions.create(model="fake-large", messages=asked)
        assert whole.choices[0].message.content == "Grüße aus Łódź"
        assert whole.usage is not None
        usage = whole.usage
    counted = (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
    assert (counted == (11, 3, 14)) is not estimated
    assert min(counted) > 0


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_ended_to_call_tools_without_a_call_is_an_error(
    http: httpx.AsyncClient, upstream: FakeUpstream, stream: bool
) -> None:
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    upstream.behaviour = Behaviour(sent=events(*CHUNKS[:-1], end))
    turn = await over_openai(http, "hello", stream=stream)
    assert (turn.finished, turn.reason) == (False, "PROVIDER_PROTOCOL_ERROR")


SURFACES: Mapping[str, Callable[..., Awaitable[Turn]]] = {
    "completion streamed": over_openai,
    "completion": partial(over_openai, stream=False),
    "response streamed": over_responses,
    "response": partial(over_responses, stream=False),
    "message streamed": over_messages,
    "message": partial(over_messages, stream=False),
    "contract": over_rest,
}


@pytest.mark.parametrize("recording", [each for each in RECORDINGS if not each.whole], ids=str)
@pytest.mark.parametrize("surface", SURFACES)
async def test_a_client_gets_a_changed_answer_whole_or_a_typed_error(
    http: httpx.AsyncClient,
    upstream: FakeUpstream,
    anthropic: FakeUpstream,
    surface: str,
    recording: Recording,
    size: Size,
) -> None:
    server, model = (anthropic, "fake-claude") if recording.protocol == "anthropic" else (upstream, "fake-large")
    # These surfaces have the text of a refusal where they have any text.
    mixed = "refusal" in recording.name and surface in ("message streamed", "message", "contract")
    # Each surface gets other cases.
    first = list(SURFACES).index(surface)
    cases = list(singles(recording, step=11))[first :: size.of(997, full=7)]
    for case in cases:
        body, _ = replace(case.delivery, framing="chunks", end="clean").carried(case.body)
        if not body:
            continue
        allowed = verdict(recording.protocol, body, clean=True)
        server.behaviour = Behaviour(sent=[body])
        turn = await SURFACES[surface](http, "hello", model=model)
        if turn.finished:
            (answer,) = allowed.answers[:1]
            assert (turn.text or "") == answer.text + (answer.refusal if mixed else ""), case.done
        else:
            assert turn.reason, case.done
            assert allowed.may_fail or not allowed.answers, case.done
            assert mixed or allowed.sent.startswith(turn.text), case.done
