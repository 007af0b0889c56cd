"""Unusual answers of a model server reach the client unchanged."""

import json
import uuid
from typing import Any

import httpx

from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.surfaces import over_openai, received_messages


def events(*chunks: dict[str, Any]) -> list[bytes]:
    """These chunks as OpenAI's events, with the normal end."""
    return [b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks] + [b"data: [DONE]\n\n"]


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
