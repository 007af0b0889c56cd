"""Conversations with tools that the mesh remembers: each vendor gets its thoughts back, in its own form."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.clients.vendors.conftest import VENDORS
from tests.clients.vendors.script import SCRIPT, weather
from tests.clients.vendors.server import Report, VendorServer
from tests.e2e.stack import Stack

LOOK: Any = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}


@dataclass
class Talk:
    """A conversation in which only new messages are sent.

    Attributes:
        asked: the questions so far, each with the number of its answers.
    """

    client: AsyncOpenAI
    vendor: VendorServer
    name: str
    streamed: bool
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def turn(self, question: str) -> None:
        """Ask, call the tool as often as the model wants, and check what the client and the vendor got."""
        new: list[Any] = [{"role": "user", "content": question}]
        for place, said in enumerate(SCRIPT[question]):
            answer = await self._say(new)
            assert answer["content"] == (said.text or None)
            assert answer.get("reasoning_content", "") == said.thought
            calls = answer.get("tool_calls") or []
            assert [json.loads(call["function"]["arguments"]) for call in calls] == [
                {"place": where} for where in said.places
            ]
            expected = self.vendor.dialect.history([*self.asked, (question, place)])
            assert [each for each in self.vendor.bodies[-1]["messages"] if each["role"] != "system"] == expected
            new = [
                {"role": "tool", "tool_call_id": call["id"], "content": weather(where)}
                for call, where in zip(calls, said.places, strict=True)
            ]
        self.asked.append((question, len(SCRIPT[question])))

    async def _say(self, new: list[Any]) -> dict[str, Any]:
        wanted: Any = {"model": self.vendor.dialect.model, "messages": new, "tools": [LOOK], "reasoning_effort": "high"}
        wanted["extra_body"] = {"conversation": self.name}
        if not self.streamed:
            whole = await self.client.chat.completions.create(**wanted)
            message: dict[str, Any] = whole.choices[0].message.to_dict()
            return message
        return joined([chunk async for chunk in await self.client.chat.completions.create(stream=True, **wanted)])


def joined(chunks: list[Any]) -> dict[str, Any]:
    """The assistant's message of a stream."""
    message: dict[str, Any] = {"content": "", "reasoning_content": "", "tool_calls": []}
    for chunk in chunks:
        delta = chunk.choices[0].delta.to_dict()
        message["content"] += delta.get("content") or ""
        message["reasoning_content"] += delta.get("reasoning_content") or ""
        for piece in delta.get("tool_calls") or ():
            if piece["index"] == len(message["tool_calls"]):
                message["tool_calls"].append(piece)
            else:
                message["tool_calls"][piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    assert chunks[-1].choices[0].finish_reason == ("tool_calls" if message["tool_calls"] else "stop")
    return {**message, "content": message["content"] or None}


@pytest.mark.parametrize("name", VENDORS)
async def test_a_remembered_conversation_of_five_turns_with_tools_goes_on_after_a_restart(
    stack: Stack, vendors: Mapping[str, VendorServer], name: str
) -> None:
    vendor = vendors[name]
    vendor.report()
    async with stack.openai() as client:
        talks = [Talk(client, vendor, f"{name} streamed: {streamed}", streamed) for streamed in (False, True)]
        for talk in talks:
            for question in ("Turn one", "Turn two", "Turn three", "No tool"):
                await talk.turn(question)
        assert (await stack.soma("restart", "serve")).status == 0
        for talk in talks:
            for question in ("Turn four", "Turn five"):
                await talk.turn(question)
    assert vendor.report() == Report({"all"}, {False, True})
