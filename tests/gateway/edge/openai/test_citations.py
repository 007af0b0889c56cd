"""The places that an answer refers to are annotations of its text."""

import json
from typing import Any

import httpx
import pytest
from openai.types.chat import ChatCompletion
from openai.types.responses import Response, ResponseStreamEvent
from soma.model.v1 import message_pb2 as model
from soma.orchestrator.v1 import chat_service_pb2 as chat

from tests.fakes.chat import delta, finished, started
from tests.fakes.responses import answered
from tests.gateway.edge.conftest import Stand
from tests.gateway.edge.openai.published import fits

PAGE = model.Citation(url="https://example.com", title="A page", quote="Snow is white.", start=0, end=5)
DOCUMENT = model.Citation(title="a.pdf", details='{"type":"page_location"}')
PLACES: list[dict[str, Any]] = [
    {"start_index": 0, "end_index": 5, "url": "https://example.com", "title": "A page", "content": "Snow is white."},
    {"start_index": 0, "end_index": 0, "url": "", "title": "a.pdf"},
]
NESTED = [{"type": "url_citation", "url_citation": place} for place in PLACES]
FLAT = [{"type": "url_citation", **place} for place in PLACES]
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("together", [False, True])
async def test_citations_of_a_chat_are_annotations_of_its_message(
    http: httpx.AsyncClient, stand: Stand, together: bool
) -> None:
    cited = model.Delta(citations=[PAGE, DOCUMENT], text="white." if together else "")
    before = delta("Snow is ") if together else delta("Snow is white.")
    stand.chat.script = [started(), before, chat.ChatResponse(delta=cited), finished()]
    whole = (await http.post("/v1/chat/completions", json=ASK)).json()
    assert whole["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Snow is white.",
        "refusal": None,
        "annotations": NESTED,
    }
    fits(ChatCompletion, whole, ("content",))
    streamed = (await http.post("/v1/chat/completions", json=ASK | {"stream": True})).text
    lines = [line[6:] for line in streamed.splitlines() if line.startswith("data: {")]
    deltas = [json.loads(line)["choices"][0]["delta"] for line in lines]
    assert [each["annotations"] for each in deltas if "annotations" in each] == [NESTED]
    assert "".join(each.get("content", "") for each in deltas) == "Snow is white."


async def test_citations_of_a_response_are_annotations_with_events_of_their_own(
    http: httpx.AsyncClient, stand: Stand
) -> None:
    script = answered("Snow is white.")
    for item in (script[-2].item_done.item, script[-1].finished.output[0]):
        item.text.citations.extend([PAGE, DOCUMENT])
    stand.responses.reset(script)
    whole = (await http.post("/v1/responses", json={"input": "Hi"})).json()
    assert whole["output"][0]["content"][0]["annotations"] == FLAT
    fits(Response, whole, ("store", "content"))
    streamed = (await http.post("/v1/responses", json={"input": "Hi", "stream": True})).text
    events = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    for event in events:
        fits(ResponseStreamEvent, event, ("store", "content"))
    added = [event for event in events if event["type"] == "response.output_text.annotation.added"]
    assert [(event["annotation_index"], event["annotation"]) for event in added] == list(enumerate(FLAT))
    assert added[0].items() >= {"item_id": "msg_7_0", "output_index": 0, "content_index": 0}.items()
    assert events[events.index(added[-1]) + 1]["type"] == "response.output_text.done"
    assert events[-1]["response"]["output"] == whole["output"]
