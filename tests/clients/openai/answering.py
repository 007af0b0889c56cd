"""A model server whose answers follow from the question, so that clients can hold whole exchanges with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from services.mesh.testing.dialects import Behaviour
from services.mesh.testing.upstreams import FakeUpstream

TEXT = ("Hello", " there", "!")
PERSON = ('{"name"', ': "Ada", ', '"age": 36}')
CALLS: Sequence[tuple[str, str, Sequence[str]]] = (
    ("call_1", "weather", ('{"city": ', '"Rome"}')),
    ("call_2", "weather", ('{"city": ', '"Oslo"}')),
)


@dataclass
class AnsweringUpstream(FakeUpstream):
    """Calls its tools for two cities at once, says what it heard of them, writes a person where JSON is asked for."""

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        self.behaviour = _behaviour(body)
        return await super()._answer(request, body)


def _behaviour(body: dict[str, Any]) -> Behaviour:
    told = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    if told:
        return Behaviour(deltas=("I heard: ", *told))
    if body.get("response_format", {}).get("type") in ("json_schema", "json_object"):
        return Behaviour(deltas=PERSON)
    if body.get("tools"):
        return Behaviour(deltas=(), tool_calls=CALLS)
    return Behaviour(deltas=TEXT)
