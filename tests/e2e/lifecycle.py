"""The rules that a stream of a response keeps, by the specification of Open Responses; any stream can be checked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

TERMINAL = {"response.completed": "completed", "response.failed": "failed", "response.incomplete": "incomplete"}
Event = dict[str, Any]
# What every response has, whatever was asked: the name of each member, and the types that its value may have.
NUMBER, FLAG, MAYBE_TEXT = (int, float), bool, (str, type(None))
MEMBERS: dict[str, Any] = {
    **dict.fromkeys(("temperature", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs"), NUMBER),
    **dict.fromkeys(("store", "background", "parallel_tool_calls"), FLAG),
    **dict.fromkeys(("id", "object", "status", "model", "truncation", "service_tier"), str),
    **dict.fromkeys(("previous_response_id", "instructions", "safety_identifier", "prompt_cache_key"), MAYBE_TEXT),
    **dict.fromkeys(("completed_at", "max_output_tokens", "max_tool_calls"), (int, type(None))),
    **dict.fromkeys(("error", "incomplete_details", "usage", "reasoning"), (dict, type(None))),
    **dict.fromkeys(("output", "tools"), list),
    "created_at": int,
    "tool_choice": (str, dict),
    "text": dict,
    "metadata": dict,
}


@dataclass
class Item:
    """An item while it streams: its open part, and the pieces of it so far."""

    kind: str
    open: str = ""
    pieces: list[str] = field(default_factory=list)
    ended: bool = False


async def streamed(http: httpx.AsyncClient, **body: Any) -> list[Event]:
    """The events of a streamed response, whose form and order are checked."""
    answer = await http.post("/v1/responses", json={"stream": True} | body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in answer.text.split("\n\n") if block and not block.startswith(":")]
    assert blocks.pop() == "data: [DONE]"
    events = []
    for block in blocks:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    check(events)
    return events


def check(events: Sequence[Event]) -> None:
    """Fail unless events are a whole stream: each item begins, grows and ends in order, and the end says the same."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    items: list[Item] = []
    done: list[Event] = []
    for event in events[2:-1]:
        kind = event["type"].removeprefix("response.")
        if kind == "error":
            assert event is events[-2]
            assert set(event["error"]) == {"type", "code", "message", "param"}
        elif kind == "output_item.added":
            assert event["output_index"] == len(items)
            assert event["item"]["status"] == "in_progress"
            assert not event["item"].get("content")
            items.append(Item(event["item"]["type"]))
        else:
            _grow(items[event["output_index"]], kind, event)
            if kind == "output_item.done":
                done.append(event)
    last = events[-1]
    response = last["response"]
    assert response["status"] in (TERMINAL[last["type"]], "cancelled")
    if last["type"] == "response.failed":
        assert events[-2]["type"] == "error"
        assert response["error"]["message"] == events[-2]["message"]
    else:
        assert all(item.ended for item in items)
        assert response["output"] == [event["item"] for event in sorted(done, key=lambda each: each["output_index"])]
    complete(response)


def complete(response: Event) -> None:
    """Fail unless a response has every member with a value of its type, and its items have the states that fit."""
    for name, kinds in MEMBERS.items():
        assert isinstance(response[name], kinds), (name, response[name])
    assert (response["completed_at"] is not None) is (response["status"] == "completed")
    states = [item["status"] for item in response["output"]]
    # An item that is not complete is the last one, and so is the response not complete.
    assert states[:-1] == ["completed"] * len(states[:-1])
    assert "incomplete" not in states or response["status"] != "completed"
    for item in response["output"]:
        assert item["id"]
        assert "phase" not in item or item["type"] == "message"
    if response["usage"] is not None:
        usage = response["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert isinstance(usage["input_tokens_details"]["cached_tokens"], int)
        assert isinstance(usage["output_tokens_details"]["reasoning_tokens"], int)


_BEGINS = {"content_part.added": "message", "reasoning_summary_part.added": "reasoning"}
_GROWS = {
    "output_text.delta": "message",
    "refusal.delta": "message",
    "reasoning_summary_text.delta": "reasoning",
    "function_call_arguments.delta": "function_call",
}
_WHOLE = {
    "output_text.done": "text",
    "refusal.done": "refusal",
    "reasoning_summary_text.done": "text",
    "function_call_arguments.done": "arguments",
}
_ENDS = ("content_part.done", "reasoning_summary_part.done")


def _grow(item: Item, kind: str, event: Event) -> None:
    assert not item.ended
    if kind in _BEGINS:
        assert (item.kind, item.open) == (_BEGINS[kind], "")
        item.open = kind
    elif kind in _GROWS:
        assert item.kind == _GROWS[kind]
        assert item.open or item.kind == "function_call"
        item.pieces.append(event["delta"])
    elif kind in _WHOLE:
        assert event[_WHOLE[kind]] == "".join(item.pieces)
    elif kind in _ENDS:
        assert item.open
        item.open = ""
    elif kind == "output_text.annotation.added":
        assert item.open
    else:
        assert kind == "output_item.done"
        assert not item.open
        assert event["item"]["status"] in ("completed", "incomplete")
        item.ended = True
