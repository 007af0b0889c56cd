"""A model server whose answers depend on the question, for whole conversations with clients."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from services.model.testing.dialects import Behaviour, Fault
from services.model.testing.upstreams import FakeUpstream

TEXT = ("Hello", " there", "!")
PERSON = ('{"name"', ': "Ada", ', '"age": 36}')
CALLS: Sequence[tuple[str, str, Sequence[str]]] = (
    ("call_1", "weather", ('{"city": ', '"Rome"}')),
    ("call_2", "weather", ('{"city": ', '"Oslo"}')),
)


@dataclass
class AnsweringUpstream(FakeUpstream):
    """Calls its tools for two cities, repeats their results, and writes a person if JSON is requested.

    For the question "fail: FAULT" it fails with this fault; for "fail once: FAULT" it answers the second request. For
    "Slowly" it pauses between the pieces.
    """

    failed: set[str] = field(default_factory=set)

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        self.behaviour = _behaviour(body)
        asked = str(body["messages"][-1]["content"])
        verb, _, fault = asked.partition(": ")
        if verb == "fail" or (verb == "fail once" and asked not in self.failed):
            self.failed.add(asked)
            self.behaviour = Behaviour(fault=Fault[fault], retry_after="1")
        elif asked == "Slowly":
            self.behaviour = Behaviour(deltas=TEXT, pause=0.1)
        return await super()._answer(request, body)


def _behaviour(body: dict[str, Any]) -> Behaviour:
    results = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    if results:
        return Behaviour(deltas=("I heard: ", *results))
    asked = str(body["messages"][-1]["content"])
    if asked == "Refuse":
        return Behaviour(deltas=(), refusal=("I", " cannot."))
    if body.get("response_format", {}).get("type") in ("json_schema", "json_object"):
        return Behaviour(deltas=PERSON)
    if asked.startswith("Be: "):
        return Behaviour(deltas=(), tool_calls=(("call_3", asked.removeprefix("Be: "), ("".join(PERSON),)),))
    if body.get("tools"):
        return Behaviour(deltas=(), tool_calls=CALLS)
    return Behaviour(deltas=TEXT)
